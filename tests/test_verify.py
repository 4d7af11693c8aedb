"""The vector runner: own vectors pass, and every kind of failure is told apart."""

import inspect
import itertools
import json
import math
import re
from importlib.resources import files

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq

from t3vae.errors import ConfigError
from t3vae.stages.verify import FUNCTIONS, evaluate_case, load_cases, verify


def case(**changes):
    """A case that passes: two classes, counts by hand."""
    args = {"n_max": 100, "num_classes": 2, "imbalance": 10}
    return {"id": "a", "fn": "lt_class_counts", "args": args, "expect": [100, 10]} | changes


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_own_vectors_pass(capsys):
    assert verify() == 0
    lines = capsys.readouterr().out.splitlines()
    count = len(load_cases())
    assert lines[0].split() == ["id", "function", "excess", "result"]
    assert len(lines) == count + 2
    assert lines[-1] == f"{count} passed, 0 failed"


def test_a_changed_number_in_own_vectors_fails(tmp_path):
    content = json.loads(files("t3vae.stages").joinpath("vectors.json").read_text())
    content["cases"][0]["expect"]["tau_sq"] *= 1 + 1e-7
    lines = []
    assert verify(write(tmp_path / "v.json", content), lines.append) == 1
    assert lines[1].endswith("fail")
    assert lines[-1] == f"{len(content['cases']) - 1} passed, 1 failed"


def test_a_passing_case_has_room_left():
    result = evaluate_case(case())
    assert result.passed
    assert result.excess == pytest.approx(-1e-11 - 1e-9 * 10)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"fn": "no_such"}, "unknown function 'no_such'"),
        ({"args": {"n_max": 1, "classes": 2, "imbalance": 1}}, "unknown argument 'classes'"),
        ({"args": {"n_max": 1, "imbalance": 1}}, "missing argument 'num_classes'"),
        ({"args": [1, 2]}, "args: must be an object"),
        ({"expect": [100, 10, 1]}, r"shape \(2,\), expected is \(3,\)"),
        ({"expect": {"total": 1}}, "no named parts"),
        ({"args": {"n_max": 100, "num_classes": 2, "imbalance": 0}}, "imbalance = 0"),
        ({"expect": "many"}, "ValueError"),
        ({"rtol": "x"}, "ValueError"),
    ],
)
def test_what_cannot_be_compared_fails_with_its_reason(changes, problem):
    result = evaluate_case(case(**changes))
    assert not result.passed
    assert result.excess == math.inf
    assert re.search(problem, result.problem)


def test_a_missing_expectation_and_part_are_failures():
    without = case()
    del without["expect"]
    assert evaluate_case(without).problem == "expect: is missing"
    constants = {
        "fn": "constants",
        "args": {"nu": 5, "n": 1, "m": 1, "sigma": 1},
        "expect": {"beta": 1},
    }
    assert "no part 'beta'" in evaluate_case(constants).problem


@pytest.mark.parametrize("expected", [math.nan, math.inf, -10.0])
def test_values_that_differ_fail(expected):
    assert not evaluate_case(case(expect=[100, expected])).passed


def test_tolerances_are_those_of_the_case():
    assert not evaluate_case(case(expect=[100, 10.5])).passed
    assert evaluate_case(case(expect=[100, 10.5], atol=0.5)).passed
    assert evaluate_case(case(expect=[100, 10.5], rtol=0.05)).passed


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", 'a list "cases"'),
        ({"cases": [1]}, 'a list "cases"'),
        ({"cases": []}, "no cases"),
    ],
)
def test_bad_files_are_refused(tmp_path, content, message):
    with pytest.raises(ConfigError, match=message):
        verify(write(tmp_path / "v.json", content))


def test_unreadable_files_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        verify(tmp_path / "absent.json")
    (tmp_path / "latin.json").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="cannot be read"):
        verify(tmp_path / "latin.json")


ARGUMENTS = {
    "constants": "nu n m sigma",
    "gamma_reg": "mu logvar nu n sigma",
    "gamma_loss": "x recon mu logvar nu sigma beta",
    "t_logpdf": "x mu Sigma_diag nu",
    "joint_logpdf": "x z recon nu sigma",
    "D_gamma_t": "mu0 S0 mu1 S1 nu",
    "t3h_constants": "nu n m1 m2 sigma",
    "t3h_loss": "x recon mu1 lv1 mu2 lv2 prior_mu2 nu sigma w1",
    "t3h_joint_reg": "mu1 lv1 mu2 lv2 prior_mu2 nu n sigma",
    "ct3_reg": "mu logvar class_mu nu n sigma",
    "kl_gauss_2x": "mu logvar kappa",
    "neg_elbo_gauss": "x recon mu logvar sigma kappa",
    "studentt_nll_2x": "x mu loglam lognu",
    "devae_reg_2x": "z logvar nu",
    "vaest_reg_2x": "z mu var nu_q nu_p",
    "tilted_mu_star": "tau d",
    "tilted_kl": "r tau d",
    "tilted_logZ": "tau d",
    "tilted_reg_2x": "mu tau",
    "factor_tc_2x": "logits",
    "factor_disc_loss": "logits_joint logits_perm",
    "lt_class_counts": "n_max num_classes imbalance",
    "mmd_linear": "a b",
    "mmd_u": "a b sigma2",
    "hill": "x k",
    "frechet_distance": "mu1 S1 mu2 S2",
    "uni_logpdf": "x",
    "uni_score": "x",
    "uni_quantile": "p",
    "biv_pdf": "a b",
    "ksd_imq_u": "x score",
}


def test_every_function_takes_the_documented_arguments():
    actual = {name: list(inspect.signature(f).parameters) for name, f in FUNCTIONS.items()}
    assert actual == {name: names.split() for name, names in ARGUMENTS.items()}


# --- each function through the runner, against numbers computed here from definitions ---


def t_log_density(delta, nu, d):
    c = math.lgamma((nu + d) / 2) - math.lgamma(nu / 2) - d / 2 * math.log(nu * math.pi)
    return c - (nu + d) / 2 * math.log1p(delta / nu)


def log_c(nu, d):
    return t_log_density(0.0, nu, d)


X, RECON = [[0.4, -1.0, 0.2], [1.5, 0.3, -0.7]], [[0.1, -0.8, 0.5], [0.9, 0.0, 0.1]]
MU, LOGVAR = [[0.3, -0.2], [0.8, 1.1]], [[-0.5, 0.2], [0.4, -1.3]]
MU2, LOGVAR2, PRIOR2 = [[0.6], [-0.9]], [[0.1], [-0.6]], [[0.2], [0.5]]


def squared(a, b=None):
    difference = np.array(a) - (0 if b is None else np.array(b))
    return (difference**2).sum(-1)


def literal(mu, logvar, nu, n, sigma):
    """R_gamma as published."""
    m, order = len(mu[0]), nu + n - 2
    kappa = 2 / (order + m)
    b = log_c(nu, n) - n * math.log(sigma) + math.log((nu - 2) / order)
    entropy = nu * (1 + m / order) * math.exp(kappa * b)
    minimum = nu * math.exp(2 * b / order)
    trace = nu / order * np.exp(logvar).sum(-1)
    return squared(mu) + trace - entropy * np.exp(kappa / 2 * np.sum(logvar, -1)) + minimum


def t3h_parts(nu, n, sigma, w):
    m1, m2 = 2, 1
    n1, n2 = nu + n - 2, nu + n + m1 - 2
    total = n2 + m2
    kappa = 2 / total
    b2 = log_c(nu, n + m1) - n * math.log(sigma) + math.log((nu - 2) / n2)
    a = nu * total / n2 * math.exp(kappa * b2)
    power1 = np.exp(kappa / 2 * np.sum(LOGVAR, -1))
    power2 = np.exp(kappa / 2 * np.sum(LOGVAR2, -1))
    reg1 = squared(MU) + nu / n1 * np.exp(LOGVAR).sum(-1) - w * a * power1
    reg2 = squared(MU2, PRIOR2) + nu / n2 * np.exp(LOGVAR2).sum(-1) - a * power2
    return reg1.mean(), reg2.mean()


def expectations():
    nu, sigma = 4.5, 0.6
    recon = squared(X, RECON).mean() / sigma**2
    reg = literal(MU, LOGVAR, nu, 3, sigma)
    minimum = literal([[0.0, 0.0]], [[-math.inf] * 2], nu, 3, sigma)[0]
    common = {"x": X, "recon": RECON, "mu": MU, "logvar": LOGVAR, "sigma": sigma}
    hierarchy = {"mu1": MU, "lv1": LOGVAR, "mu2": MU2, "lv2": LOGVAR2, "prior_mu2": PRIOR2}
    yield "gamma_reg", {"mu": MU, "logvar": LOGVAR, "nu": nu, "n": 3, "sigma": sigma}, reg
    yield (
        "gamma_loss",
        common | {"nu": nu, "beta": 0.3},
        {
            "recon": recon,
            "reg": reg.mean(),
            "total_2x": recon + 0.3 * reg.mean(),
            "L_gamma": 0.5 * (recon + reg.mean() - minimum),
        },
    )
    scaled = (np.array(X) - [0.1, 0.2, 0.3]) ** 2 / [0.5, 1.0, 2.0]
    yield (
        "t_logpdf",
        {"x": X, "mu": [0.1, 0.2, 0.3], "Sigma_diag": [0.5, 1.0, 2.0], "nu": 1.0},
        [t_log_density(d, 1.0, 3) for d in scaled.sum(-1)],
    )  # |Sigma| = 1
    yield (
        "joint_logpdf",
        {"x": X, "z": MU, "recon": RECON, "nu": nu, "sigma": sigma},
        [
            t_log_density(z + e / sigma**2, nu, 5) - 3 * math.log(sigma)
            for z, e in zip(squared(MU), squared(X, RECON), strict=True)
        ],
    )
    for w in ("1+gamma", 0.8):
        weight = 1 - 2 / (nu + 6) if w == "1+gamma" else w
        reg1, reg2 = t3h_parts(nu, 3, sigma, weight)
        yield (
            "t3h_loss",
            {"x": X, "recon": RECON, **hierarchy, "nu": nu, "sigma": sigma, "w1": w},
            {"reg1": reg1, "reg2": reg2, "recon": recon, "total_2x": recon + reg1 + reg2},
        )
    joint_mu = np.hstack((MU, np.subtract(MU2, PRIOR2)))
    joint = literal(joint_mu, np.hstack((LOGVAR, LOGVAR2)), nu, 3, sigma)
    yield "t3h_joint_reg", {**hierarchy, "nu": nu, "n": 3, "sigma": sigma}, joint
    shifted = literal(np.subtract(MU, LOGVAR), LOGVAR, nu, 3, sigma)
    yield (
        "ct3_reg",
        {"mu": MU, "logvar": LOGVAR, "class_mu": LOGVAR, "nu": nu, "n": 3, "sigma": sigma},
        shifted,
    )
    k = 1.5
    kl = ((np.square(MU) + np.exp(LOGVAR)) / k**2 - 1 - LOGVAR + 2 * math.log(k)).sum(-1)
    yield "kl_gauss_2x", {"mu": MU, "logvar": LOGVAR, "kappa": k}, kl
    elbo = 0.5 * (recon + 3 * math.log(2 * math.pi * sigma**2) + kl.mean())
    yield "neg_elbo_gauss", common | {"kappa": k}, elbo
    yield (
        "studentt_nll_2x",
        {"x": X, "mu": RECON, "loglam": RECON, "lognu": X},
        [
            sum(
                -2 * (t_log_density(math.exp(lam) * (x - lam) ** 2, math.exp(x), 1) + lam / 2)
                for x, lam in zip(row, other, strict=True)
            )
            for row, other in zip(X, RECON, strict=True)
        ],
    )
    yield "devae_reg_2x", {"z": MU, "logvar": LOGVAR, "nu": 3.0}, [
        -sum(math.log(2 * math.pi) + 1 + v + 2 * t_log_density(z * z, 3.0, 1)
             for z, v in zip(row, variances, strict=True))
        for row, variances in zip(MU, LOGVAR, strict=True)
    ]  # fmt: skip
    var = np.exp(LOGVAR)
    yield "vaest_reg_2x", {
        "z": MU, "mu": LOGVAR, "var": var.tolist(), "nu_q": [4.0, 8.0], "nu_p": 5.0
    }, [
        2 * (t_log_density(d, q, 2) - t_log_density(z, 5.0, 2)) - sum(v)
        for d, q, z, v in zip(
            ((np.subtract(MU, LOGVAR)) ** 2 / var).sum(-1), (4.0, 8.0), squared(MU), LOGVAR,
            strict=True,
        )
    ]  # fmt: skip
    yield "tilted_mu_star", {"tau": 40.0, "d": 64}, 39.203836759
    yield "tilted_logZ", {"tau": 1.0, "d": 1}, 0.5 + math.log(1 + math.erf(1 / math.sqrt(2)))
    folded = math.sqrt(2 / math.pi) * math.exp(-0.5) + math.erf(1 / math.sqrt(2))
    log_z = 0.5 + math.log(1 + math.erf(1 / math.sqrt(2)))
    yield "tilted_kl", {"r": 1.0, "tau": 1.0, "d": 1}, log_z - folded + 0.5
    yield "tilted_reg_2x", {"mu": MU, "tau": 0.1}, squared(MU)  # no positive root: mu* = 0
    yield "factor_tc_2x", {"logits": MU}, 2 * (0.5 - 0.3) / 2
    yield (
        "factor_disc_loss",
        {"logits_joint": MU, "logits_perm": LOGVAR},
        0.25
        * sum(
            math.log(sum(map(math.exp, row))) - row[index]
            for rows, index in ((MU, 0), (LOGVAR, 1))
            for row in rows
        ),
    )
    yield "frechet_distance", {
        "mu1": [0.0, 1.0], "S1": [[4.0, 0.0], [0.0, 1.0]],
        "mu2": [1.0, 1.0], "S2": [[1.0, 0.0], [0.0, 9.0]],
    }, 1 + (2 - 1) ** 2 + (1 - 3) ** 2  # fmt: skip
    yield (
        "D_gamma_t",
        {"mu0": [0.5], "S0": [[1.0]], "mu1": [0.0], "S1": [[1.0]], "nu": 3.0},
        2 * (2 / math.exp(log_c(3.0, 1))) ** 1.0 * 0.25 / 3,
    )
    constants = {"nu": 3.0, "n": 1, "m": 1, "sigma": 1.0}
    yield "constants", constants, {
        "gamma": -0.4, "kappa": 2 / 3, "log_base": log_c(3.0, 1) - math.log(2),
        "tau_sq": 0.75 * math.exp(log_c(3.0, 1) - math.log(2)),
        "log_C_nu_nm": log_c(3.0, 2), "log_C_nu_m": log_c(3.0, 1), "log_C_nu_n": log_c(3.0, 1),
    }  # fmt: skip
    # n = 1, m1 = 1, m2 = 1: N1 = 2, N2 = 3, N = 4, kappa = 1/2
    b2 = log_c(3.0, 2) - math.log(3)
    yield "t3h_constants", {"nu": 3.0, "n": 1, "m1": 1, "m2": 1, "sigma": 1.0}, {
        "gamma": -1 / 3, "kappa": 0.5, "b2": b2, "log_A": math.log(4) + b2 / 2,
        "log_tau2": 0.5 * math.log(3 / 5) + b2 / 3,
        "log_tau1_w1": 0.5 * math.log(3 / 4) + (b2 + 2 * math.log(2 / 3)) / 3,
        "log_tau1_wg": 0.5 * math.log(3 / 4) + (b2 + 2 * math.log(4 / 9)) / 3,
        "log_tau1_logdet": 0.5 * (math.log(3 / 4) + math.log(8 / 18) + b2 / 2),
    }  # fmt: skip


def kernel(a, b, sigma2):
    return math.exp(-sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) / (2 * sigma2))


def mean_kernel(a, b, sigma2, distinct=False):
    pairs = [(i, j) for i in range(len(a)) for j in range(len(b)) if not (distinct and i == j)]
    return sum(kernel(a[i], b[j], sigma2) for i, j in pairs) / len(pairs)


def data_expectations():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(9, 2)).tolist(), (1 + rng.normal(size=(8, 2))).tolist()
    # the linear statistic: 2 n = 8 points of each, in halves
    halves = a[:4], a[4:8], b[:4], b[4:8]
    pairs = ((0, 1), (2, 3), (0, 3), (1, 2))
    distances = [squared(halves[i], halves[j]) for i, j in pairs]
    bandwidth = np.sort(np.concatenate(distances))[::-1][7]
    means = [np.exp(-d / (2 * bandwidth)).mean() for d in distances]
    statistic = means[0] + means[1] - means[2] - means[3]
    yield "mmd_linear", {"a": a, "b": b}, [statistic, bandwidth]
    within = mean_kernel(a, a, 0.8, distinct=True) + mean_kernel(b, b, 0.8, distinct=True)
    unbiased = within - 2 * mean_kernel(a, b, 0.8)
    yield "mmd_u", {"a": a, "b": b, "sigma2": 0.8}, unbiased
    excesses = math.log(8) + math.log(4) + math.log(2)
    yield "hill", {"x": [4.0, -3.0, 1.0, 8.0, 2.0, 0.5], "k": 3}, 3 / excesses

    def density(x):
        left, right = (math.exp(t_log_density((x - c) ** 2, 5, 1)) for c in (-2, 2))
        return 0.6 * left + 0.4 * right

    points = [-30.0, -2.0, 0.3, 7.0]
    yield "uni_logpdf", {"x": points}, [math.log(density(x)) for x in points]
    yield (
        "uni_quantile",
        {"p": 0.5},
        brentq(lambda q: quad(density, -math.inf, q, epsabs=1e-13)[0] - 0.5, -3, 3, xtol=1e-13),
    )

    def two_dimensional(x, at):
        prior = sum(
            w * math.exp(t_log_density((x - c) ** 2 / 4, 5, 1)) / 2
            for w, c in ((0.7, -2), (0.3, 2))
        )
        error = (at[0] - x) ** 2 + (at[1] - x - 2 * math.sin(math.pi * x / 4)) ** 2
        return prior * math.exp(t_log_density(error, 6, 2))

    at = (0.7, -1.2)
    pieces = [-math.inf, -8, -2, 0, 2, 8, math.inf]
    value = sum(
        quad(two_dimensional, low, high, args=(at,), epsabs=1e-14, epsrel=1e-12)[0]
        for low, high in itertools.pairwise(pieces)
    )
    yield "biv_pdf", {"a": at[0], "b": at[1]}, value
    scores = (-np.array(a)).tolist()
    yield "ksd_imq_u", {"x": a, "score": scores}, np.mean([
        stein(np.array(a[i]), np.array(a[j])) for i in range(9) for j in range(9) if i != j
    ])  # fmt: skip


def stein(x, y, h=1e-4):
    """s.s k + s_x.grad_y k + s_y.grad_x k + trace of the mixed derivative, by differences."""

    def k(u, v):
        return (1 + ((u - v) ** 2).sum()) ** -0.5

    units = np.eye(2) * h
    grad_x = [(k(x + e, y) - k(x - e, y)) / (2 * h) for e in units]
    grad_y = [(k(x, y + e) - k(x, y - e)) / (2 * h) for e in units]
    mixed = sum(
        (k(x + e, y + e) - k(x + e, y - e) - k(x - e, y + e) + k(x - e, y - e)) / (4 * h * h)
        for e in units
    )
    return x @ y * k(x, y) - x @ grad_y - y @ grad_x + mixed


EXPECTATIONS = [*expectations(), *data_expectations()]


@pytest.mark.parametrize(
    ("name", "args", "expected"), EXPECTATIONS, ids=[name for name, *_ in EXPECTATIONS]
)
def test_functions_return_what_their_definitions_say(name, args, expected):
    plain = expected.tolist() if isinstance(expected, np.ndarray) else expected
    args = json.loads(json.dumps(args))  # as a file would give them
    rtol = 1e-6 if name == "ksd_imq_u" else 1e-9  # differences of second order there
    result = evaluate_case({"fn": name, "args": args, "expect": plain, "rtol": rtol})
    assert result.problem is None
    assert result.passed, f"excess {result.excess}"


def test_the_univariate_score_is_the_derivative_of_its_log_density():
    step, points = 1e-5, np.array([-9.0, -1.0, 0.2, 4.0])
    logs = FUNCTIONS["uni_logpdf"]
    expected = (logs(points + step) - logs(points - step)) / (2 * step)
    assert FUNCTIONS["uni_score"](points) == pytest.approx(expected, rel=1e-8, abs=1e-9)


def test_no_function_is_left_out():
    elsewhere = {"uni_score", "lt_class_counts"}
    assert {name for name, *_ in EXPECTATIONS} | elsewhere == set(FUNCTIONS)
