"""Constants of the objective against mpmath, published tables, identities and limits."""

import math
import subprocess
import sys

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import multivariate_t

from t3vae.errors import ConfigError
from t3vae.maths.constants import (
    gamma_constants,
    hierarchical_constants,
    high_dimension_limit,
    log_t_normalizer,
)

NU = st.floats(min_value=2.0001, max_value=1e6)
N = st.integers(min_value=1, max_value=12288)
M = st.integers(min_value=1, max_value=128)
SIGMA = st.floats(min_value=0.01, max_value=10.0)


def exact_log_normalizer(nu: float, d: int) -> mpmath.mpf:
    with mpmath.workdps(40):
        nu, d = mpmath.mpf(nu), mpmath.mpf(d)
        return (
            mpmath.loggamma((nu + d) / 2)
            - mpmath.loggamma(nu / 2)
            - d / 2 * mpmath.log(nu * mpmath.pi)
        )


@pytest.mark.parametrize("nu", [0.3, 1.0, 2.0001, 5.0, 39.9, 40.1, 1e3, 1e6, 1e12])
@pytest.mark.parametrize("d", [1, 2, 64, 12288])
def test_log_normalizer_agrees_with_forty_digits(nu, d):
    exact = float(exact_log_normalizer(nu, d))
    assert log_t_normalizer(nu, d) == pytest.approx(exact, rel=2e-14, abs=2e-12)


def test_log_normalizer_is_the_peak_of_scipys_density():
    expected = multivariate_t.logpdf(np.zeros(3), np.zeros(3), np.eye(3), df=4.5)
    assert log_t_normalizer(4.5, 3) == pytest.approx(expected, rel=1e-12)


def test_log_normalizer_tends_to_the_normal_distribution():
    assert log_t_normalizer(math.inf, 3) == -1.5 * math.log(2 * math.pi)
    assert log_t_normalizer(1e12, 3) == pytest.approx(log_t_normalizer(math.inf, 3), abs=1e-11)


@given(nu=NU, n=N, m=M)
@settings(max_examples=100, deadline=None)
def test_normalizers_of_prior_and_decoder_multiply_to_the_joint(nu, n, m):
    product = log_t_normalizer(nu, m) + log_t_normalizer(nu + m, n) + 0.5 * n * math.log1p(m / nu)
    assert product == pytest.approx(log_t_normalizer(nu, m + n), rel=1e-12, abs=1e-9)


@given(nu=NU, n=N, m=M, sigma=SIGMA)
@settings(max_examples=150, deadline=None)
def test_constants_are_consistent(nu, n, m, sigma):
    c = gamma_constants(nu, n, m, sigma)
    assert c.log_C1 - c.log_C2 == pytest.approx(c.log_C1_over_C2, rel=1e-9, abs=1e-9)
    assert c.kappa == pytest.approx(-c.gamma / (1 + c.gamma), rel=1e-9)
    assert c.order == pytest.approx(2 / c.kappa, rel=1e-12)
    # tau is the scale at which the coefficient of |z|^2 is that of the gamma-loss:
    # C2* / (nu' tau^2) = C2 / nu, with C2* the constant of the t distribution of nu' = nu + n.
    prime = nu + n
    log_c2_star = c.kappa * (
        math.log1p(m / (prime - 2)) + m * math.log(c.tau) - log_t_normalizer(prime, m)
    )
    left = log_c2_star - math.log(prime * c.tau_sq)
    assert left == pytest.approx(c.log_C2 - math.log(nu), rel=1e-9, abs=1e-9)
    assert c.alpha == pytest.approx(-0.5 * c.gamma * nu * math.exp(-c.log_C2), rel=1e-12)
    # v* is the variance of the alternative prior, and c the log-variance of its encoder
    assert c.v_star == pytest.approx(c.tau_sq * prime / (prime - 2), rel=1e-12)
    assert math.exp(c.shift) == pytest.approx(c.tau_sq * (1 + n / nu), rel=1e-10)
    assert c.nu_prime_tau_sq == pytest.approx(prime * c.tau_sq, rel=1e-12)


NU_MINUS_2 = (0.01, 0.1, 1.0, 10.0, 100.0)
TAU = {
    1: (0.003027, 0.036338, 0.371258, 0.874487, 0.986000),
    4: (0.061617, 0.113919, 0.251951, 0.657429, 0.946705),
    16: (0.162855, 0.189554, 0.234441, 0.409035, 0.821709),
    64: (0.216626, 0.224964, 0.237345, 0.288828, 0.573919),
}
ALPHA = {
    1: (0.000411, 0.004898, 0.084713, 0.612106, 0.945687),
    4: (0.006175, 0.016466, 0.060204, 0.376309, 0.873181),
    16: (0.027675, 0.036825, 0.054961, 0.160685, 0.661192),
    64: (0.047075, 0.050710, 0.056352, 0.083014, 0.325940),
}


@pytest.mark.parametrize("n", TAU)
def test_tau_and_alpha_have_the_reference_values(n):
    constants = [gamma_constants(2 + excess, n, 1, 1.0) for excess in NU_MINUS_2]
    assert [c.tau for c in constants] == pytest.approx(TAU[n], abs=5.1e-7)
    assert [c.alpha for c in constants] == pytest.approx(ALPHA[n], abs=5.1e-7)


def test_tau_of_the_synthetic_experiments():
    univariate = [gamma_constants(nu, 1, 1, 0.1).tau for nu in (9, 12, 15, 18, 21)]
    assert univariate == pytest.approx([1.10530, 1.07811, 1.06192, 1.05124, 1.04369], abs=6e-6)
    bivariate = [gamma_constants(nu, 2, 1, 1.0).tau for nu in (30, 40, 50, 60, 70)]
    assert bivariate == pytest.approx([0.90862, 0.93088, 0.94442, 0.95352, 0.96006], abs=6e-6)


def test_high_dimension_limit():
    assert high_dimension_limit(1.0) == pytest.approx(0.058550, abs=5e-7)
    tau_sq = [gamma_constants(nu, 12288, 64, 1.0).tau_sq for nu in (2.5, 5, 10, 30, 100)]
    expected = [0.058500, 0.058548, 0.058622, 0.058899, 0.059856]
    assert tau_sq == pytest.approx(expected, abs=6e-7)
    for nu in (2.5, 30.0):
        far = gamma_constants(nu, 10**8, 4, 0.5)
        for value in (far.tau_sq, far.v_star, far.alpha):
            assert value == pytest.approx(high_dimension_limit(0.5), rel=1e-5)


def test_gaussian_limit():
    c = gamma_constants(1e10, 3, 2, 0.7)
    assert c.tau == pytest.approx(1, abs=1e-8)
    assert c.alpha == pytest.approx(1, abs=1e-8)
    assert c.log_C2 == pytest.approx(0, abs=1e-8)
    assert c.v_star == pytest.approx(1, abs=1e-8)


def level_one(s: float, c, weight: float) -> float:
    """The level-1 regularizer at mu = 0, Sigma = s I, written as published."""
    entropy = weight * math.exp(c.log_A) * s ** (c.m1 * c.kappa / 2)
    return c.nu / (c.nu + c.n - 2) * c.m1 * s - entropy


@pytest.mark.parametrize(("nu", "n", "m1", "m2", "sigma"), [(5, 3, 2, 4, 0.8), (9, 20, 3, 1, 1.3)])
def test_hierarchical_scales_are_minimisers(nu, n, m1, m2, sigma):
    c = hierarchical_constants(nu, n, m1, m2, sigma)
    half_log_ratio = 0.5 * math.log(nu / (nu + n))

    def log_scale_of_minimum(objective):
        best = minimize_scalar(lambda t: objective(math.exp(t)), bounds=(-8, 8), method="bounded",
                               options={"xatol": 1e-10})  # fmt: skip
        return half_log_ratio + 0.5 * best.x

    by_weight = {1.0: c.log_tau1_w1, 1 + c.gamma: c.log_tau1_wg}
    for weight, expected in by_weight.items():
        found = log_scale_of_minimum(lambda s, weight=weight: level_one(s, c, weight))
        assert found == pytest.approx(expected, abs=1e-6)
        assert c.log_tau1(weight) == pytest.approx(expected, rel=1e-12)

    def with_log_determinant(s):
        entropy = -0.5 * c.gamma * math.exp(c.log_A) * m1 * math.log(s)
        return nu / (nu + n - 2) * m1 * s - entropy

    assert log_scale_of_minimum(with_log_determinant) == pytest.approx(c.log_tau1_logdet, abs=1e-6)


def test_level_two_is_the_flat_result_with_more_data_dimensions():
    nu, n, m1, m2 = 5.0, 3, 2, 4
    sigma = 0.7
    hierarchical = hierarchical_constants(nu, n, m1, m2, sigma)
    # sigma enters with power n, not n + m1: choose the flat sigma accordingly
    flat = gamma_constants(nu, n + m1, m2, sigma ** (n / (n + m1)))
    assert hierarchical.b2 == pytest.approx(flat.log_base, rel=1e-12)
    assert 2 * hierarchical.log_tau2 == pytest.approx(math.log(flat.tau_sq), rel=1e-12)
    assert hierarchical.log_A == pytest.approx(math.log(nu) + flat.log_C1_over_C2, rel=1e-12)
    assert hierarchical.gamma == flat.gamma
    assert hierarchical.kappa == flat.kappa


def test_all_problems_are_reported_at_once():
    with pytest.raises(ConfigError) as caught:
        gamma_constants(1.5, 0, True, -1.0)
    text = str(caught.value)
    assert len(caught.value.problems) == 4
    assert "nu = 1.5: must be finite and greater than 2" in text
    assert "sigma = -1.0" in text
    assert "n = 0" in text
    assert "m = True" in text


@pytest.mark.parametrize("nu", [2.0, math.inf, math.nan, -1.0])
def test_bad_nu_is_refused(nu):
    with pytest.raises(ConfigError, match="greater than 2"):
        gamma_constants(nu, 1, 1, 1.0)
    with pytest.raises(ConfigError, match="greater than 2"):
        hierarchical_constants(nu, 1, 1, 1, 1.0)


def test_other_bad_arguments_are_refused():
    with pytest.raises(ConfigError, match="weight of the level-1 entropy"):
        hierarchical_constants(5.0, 1, 1, 1, 1.0).log_tau1(0.0)
    with pytest.raises(ConfigError, match="sigma"):
        high_dimension_limit(0.0)
    with pytest.raises(ConfigError, match="nu = 0"):
        log_t_normalizer(0, 1)
    with pytest.raises(ConfigError, match=r"d = 1\.5"):
        log_t_normalizer(3.0, 1.5)


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"n": 10**16}, "n = 10000000000000000: must be an integer from 1"),
        ({"m": 10**400}, "m = an integer of more than 30 digits"),
        ({"n": 10**6000}, "n = an integer of more than 30 digits"),
        ({"n": None}, "n = None"),
        ({"nu": 10**400}, "nu = an integer of more than 30 digits"),
        ({"nu": "5"}, "nu = 5"),
        ({"sigma": None}, "sigma = None"),
        ({"n": 1000, "sigma": 1e-200}, "tau_sq, v_star.*for sigma = 1e-200"),
        ({"n": 10**6, "sigma": 1e200}, "beyond the range of floating-point numbers"),
    ],
)
def test_sizes_out_of_range_are_refused(given, what):
    with pytest.raises(ConfigError, match=what):
        gamma_constants(**{"nu": 5.0, "n": 1, "m": 1, "sigma": 1.0, **given})


def test_large_sizes_within_range_have_their_limit():
    for n in (10**9, 10**15):
        found = gamma_constants(5.0, n, 1, 1.0)
        assert found.tau_sq == pytest.approx(high_dimension_limit(1.0), rel=1e-6)
    assert gamma_constants(1e300, 1, 1, 1.0).v_star == pytest.approx(1.0)
    for sigma in (1e-200, 1e200, 5e-324):
        with pytest.raises(ConfigError, match="nearer to 1"):
            high_dimension_limit(sigma)


def test_sizes_may_be_numbers_of_numpy():
    found = gamma_constants(np.float32(5), np.int64(3), np.int32(2), np.float64(0.5))
    assert found == gamma_constants(5.0, 3, 2, 0.5)
    assert {type(value) for value in found.to_dict().values()} == {float, int}


@pytest.mark.parametrize(
    "given",
    [
        ["--nu", "2"],
        ["--nu", "nan"],
        ["--nu", "inf"],
        ["--nu", "many"],
        ["--n", "0"],
        ["--n", "0.5"],
        ["--n", "-3"],
        ["--m", "0"],
        ["--m", "9" * 50],
        ["--n", "9" * 400],
        ["--sigma", "0"],
        ["--sigma", "-1"],
        ["--sigma", "nan"],
        ["--sigma", "inf"],
        ["--sigma", "1e-300"],
        ["--sigma", "1e300"],
    ],
)
@pytest.mark.parametrize("more", [[], ["--json"]])
def test_command_says_which_number_is_out_of_range(given, more, capsys):
    from t3vae import cli

    standard = {"--nu": "5", "--n": "3", "--m": "2", "--sigma": "1"} | dict([given])
    arguments = [part for option in standard.items() for part in option]
    with pytest.raises(SystemExit) as ended:
        cli.main(["constants", *arguments, *more])
    shown = capsys.readouterr()
    assert ended.value.code == 2 and shown.out == ""
    assert given[0].strip("-") in shown.err or "tau_sq" in shown.err
    assert "Traceback" not in shown.err


def test_constants_do_not_import_torch():
    code = "import sys, t3vae.maths.constants; sys.exit(len({'torch', 'scipy'} & {*sys.modules}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
