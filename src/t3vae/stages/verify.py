"""Evaluation of test vectors with the package's own public functions.

A vector file is JSON: ``{"cases": [{"id", "fn", "args", "expect", "rtol", "atol"}, ...]}``.
Arguments and results are numbers or nested lists; arrays are (batch, dimension); every
comparison is in float64. Each name in :data:`FUNCTIONS` calls the code that training and
evaluation use.
"""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from t3vae.datasets.bivariate import BivariateTMixture
from t3vae.datasets.long_tail import class_counts
from t3vae.datasets.synthetic import UnivariateTMixture
from t3vae.errors import ConfigError, T3VAEError
from t3vae.maths import divergence, hierarchical, objectives, tilted
from t3vae.maths.constants import gamma_constants, hierarchical_constants
from t3vae.maths.distributions import DiagonalGaussian, MultivariateT
from t3vae.metrics.frechet import frechet_distance
from t3vae.metrics.hill import hill
from t3vae.metrics.kernel import mmd_linear, mmd_unbiased
from t3vae.metrics.stein import ksd_imq_rows

__all__ = ["FUNCTIONS", "CaseResult", "evaluate_case", "load_cases", "verify"]

DEFAULT_RTOL, DEFAULT_ATOL = 1e-9, 1e-11
NUMBERS = {
    *("nu", "n", "m", "m1", "m2", "sigma", "beta", "kappa", "w1", "nu_p", "tau", "d", "r", "k"),
    *("sigma2", "p", "n_max", "num_classes", "imbalance"),
}
"""Arguments that are passed as they are; all others become tensors in float64."""


def _gamma_loss(x: Any, recon: Any, mu: Any, logvar: Any, nu: Any, sigma: Any, beta: Any) -> Any:
    constants = gamma_constants(nu, x.shape[-1], mu.shape[-1], sigma)
    error = (x - recon).square().sum(-1).mean() / sigma**2
    reg = divergence.gamma_regularizer(mu, logvar, constants).mean()
    loss = 0.5 * (error + reg - constants.nu_prime_tau_sq)
    return {"recon": error, "reg": reg, "total_2x": error + beta * reg, "L_gamma": loss}


def _joint_logpdf(x: Any, z: Any, recon: Any, nu: Any, sigma: Any) -> Any:
    """The latent variable and the standardised error are jointly t."""
    point = torch.cat((z, (x - recon) / sigma), -1)
    joint = MultivariateT(torch.zeros(point.shape[-1], dtype=point.dtype), 1.0, nu)
    return joint.log_prob(point) - x.shape[-1] * math.log(sigma)


def _t3h_loss(
    x: Any, recon: Any, mu1: Any, lv1: Any, mu2: Any, lv2: Any, prior_mu2: Any,
    nu: Any, sigma: Any, w1: Any,
) -> Any:  # fmt: skip
    constants = hierarchical_constants(nu, x.shape[-1], mu1.shape[-1], mu2.shape[-1], sigma)
    reg1, reg2 = hierarchical.hierarchical_regularizers(
        mu1, lv1, mu2, lv2, prior_mu2, constants, None if w1 == "1+gamma" else float(w1)
    )
    error = (x - recon).square().sum(-1).mean() / sigma**2
    parts = {"reg1": reg1.mean(), "reg2": reg2.mean(), "recon": error}
    return {**parts, "total_2x": sum(parts.values())}


#: What a vector's ``fn`` may be; the arguments of a vector have the names of these.
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "constants": lambda nu, n, m, sigma: gamma_constants(nu, n, m, sigma).to_dict(),
    "gamma_reg": lambda mu, logvar, nu, n, sigma: divergence.gamma_regularizer(
        mu, logvar, gamma_constants(nu, n, mu.shape[-1], sigma)
    ),
    "gamma_loss": _gamma_loss,
    "t_logpdf": lambda x, mu, Sigma_diag, nu: MultivariateT(mu, Sigma_diag.sqrt(), nu).log_prob(x),
    "joint_logpdf": _joint_logpdf,
    "D_gamma_t": lambda mu0, S0, mu1, S1, nu: divergence.gamma_divergence_t(mu0, S0, mu1, S1, nu),
    "t3h_constants": lambda nu, n, m1, m2, sigma: hierarchical_constants(
        nu, n, m1, m2, sigma
    ).to_dict(),
    "t3h_loss": _t3h_loss,
    "t3h_joint_reg": lambda mu1, lv1, mu2, lv2, prior_mu2, nu, n, sigma: (
        hierarchical.joint_hierarchical_regularizer(
            *(mu1, lv1, mu2, lv2, prior_mu2),
            gamma_constants(nu, n, mu1.shape[-1] + mu2.shape[-1], sigma),
        )
    ),
    "ct3_reg": lambda mu, logvar, class_mu, nu, n, sigma: divergence.conditional_regularizer(
        mu, logvar, class_mu, gamma_constants(nu, n, mu.shape[-1], sigma)
    ),
    "kl_gauss_2x": lambda mu, logvar, kappa: objectives.gaussian_kl_2x(mu, logvar, kappa),
    "neg_elbo_gauss": lambda x, recon, mu, logvar, sigma, kappa: (
        0.5 * objectives.gaussian_kl_2x(mu, logvar, kappa)
        - DiagonalGaussian(recon, sigma).log_prob(x)
    ).mean(),
    "studentt_nll_2x": objectives.student_t_nll_2x,
    "devae_reg_2x": objectives.de_regularizer_2x,
    "vaest_reg_2x": objectives.student_t_kl_2x,
    "tilted_mu_star": tilted.tilted_mu_star,
    "tilted_kl": lambda r, tau, d: (
        tilted.tilted_log_normalizer(tau, d) - tau * tilted.tilted_mean_norm(r, d) + 0.5 * r * r
    ),
    "tilted_logZ": tilted.tilted_log_normalizer,
    "tilted_reg_2x": tilted.tilted_regularizer_2x,
    "factor_tc_2x": objectives.total_correlation_2x,
    "factor_disc_loss": lambda logits_joint, logits_perm: objectives.discriminator_loss(
        logits_joint, logits_perm
    ),
    "lt_class_counts": lambda n_max, num_classes, imbalance: class_counts(
        n_max, num_classes, imbalance
    ),
    "mmd_linear": mmd_linear,
    "mmd_u": mmd_unbiased,
    "hill": hill,
    "frechet_distance": lambda mu1, S1, mu2, S2: frechet_distance(mu1, S1, mu2, S2),
    "uni_logpdf": lambda x: UnivariateTMixture().log_prob(x),
    "uni_score": lambda x: UnivariateTMixture().score(x),
    "uni_quantile": lambda p: UnivariateTMixture().quantile(p),
    "biv_pdf": lambda a, b: BivariateTMixture().pdf(np.stack((a, b), -1)).reshape(np.shape(a)),
    "ksd_imq_u": lambda x, score: ksd_imq_rows(x, score).mean(),
}


class CaseResult(NamedTuple):
    """Outcome of one case.

    Attributes:
        case_id: identifier in the file.
        function: name that the case called.
        excess: largest difference beyond the tolerance; 0 or less is a pass, infinite if
            there was nothing to compare.
        problem: why the case could not be compared, or None.
    """

    case_id: str
    function: str
    excess: float
    problem: str | None = None

    @property
    def passed(self) -> bool:
        """Whether the case is within its tolerances."""
        return self.problem is None and self.excess <= 0


def load_cases(path: Path | None = None) -> list[dict[str, Any]]:
    """Return the cases of a vector file; the package's own vectors when path is None.

    Args:
        path: a JSON file.

    Raises:
        ConfigError: if the file cannot be read or is not a list of cases.

    Example:
        >>> len(load_cases()) >= 10
        True
    """
    source = files("t3vae.stages").joinpath("vectors.json") if path is None else path
    try:
        content = json.loads(source.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{source}: cannot be read ({error}). Give a JSON file of vectors."
        ) from error
    except (json.JSONDecodeError, RecursionError) as error:
        raise ConfigError(f"{source}: is not valid JSON ({error}).") from error
    cases = content.get("cases") if isinstance(content, dict) else None
    if not isinstance(cases, list) or not all(isinstance(case, dict) for case in cases):
        raise ConfigError(f'{source}: must be an object with a list "cases" of objects.')
    if not cases:
        raise ConfigError(f"{source}: holds no cases; there is nothing to verify.")
    return cases


def evaluate_case(case: Mapping[str, Any]) -> CaseResult:
    """Evaluate one case and compare it with what it expects.

    Args:
        case: mapping with fn, args and expect, and optionally id, rtol and atol.

    Example:
        >>> case = {"id": "a", "fn": "hill_climb", "args": {}, "expect": 1.0}
        >>> evaluate_case(case).problem
        "unknown function 'hill_climb'"
    """
    case_id, name = str(case.get("id", "?")), str(case.get("fn", "?"))
    try:
        if name not in FUNCTIONS:
            raise ConfigError(f"unknown function {name!r}")
        args, known = case.get("args"), inspect.signature(FUNCTIONS[name]).parameters
        if not isinstance(args, dict):
            raise ConfigError("args: must be an object of named arguments")
        if "expect" not in case:
            raise ConfigError("expect: is missing")
        problems = [f"unknown argument {key!r}" for key in args if key not in known]
        problems += [f"missing argument {key!r}" for key in known if key not in args]
        if problems:
            raise ConfigError(", ".join(problems))
        given = {
            key: value if key in NUMBERS else torch.tensor(value, dtype=torch.float64)
            for key, value in args.items()
        }
        rtol, atol = (
            float(case.get(key, default))
            for key, default in (("rtol", DEFAULT_RTOL), ("atol", DEFAULT_ATOL))
        )
        return CaseResult(
            case_id, name, _excess(FUNCTIONS[name](**given), case["expect"], rtol, atol)
        )
    except T3VAEError as error:
        problem = str(error)
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
    return CaseResult(case_id, name, math.inf, problem)


def verify(path: Path | None = None, echo: Callable[[str], None] = print) -> int:
    """Evaluate all cases of a file, print a table and return the exit status.

    The table has a line per case: id, function, largest excess over the tolerance, pass or
    fail; the last line is ``N passed, M failed``.

    Args:
        path: vector file; the package's own vectors when None.
        echo: receives one line at a time.

    Returns:
        0 if all cases pass, else 1.

    Raises:
        ConfigError: if the file is not a vector file.

    Example:
        >>> lines = []
        >>> verify(echo=lines.append)
        0
        >>> lines[-1].endswith(" passed, 0 failed")
        True
    """
    results = [evaluate_case(case) for case in load_cases(path)]
    widths = [
        max(len(heading), *(len(getattr(result, field)) for result in results))
        for heading, field in (("id", "case_id"), ("function", "function"))
    ]
    echo(f"{'id':<{widths[0]}}  {'function':<{widths[1]}}  {'excess':>10}  result")
    for result in results:
        verdict = "pass" if result.passed else "fail"
        if result.problem is not None:
            verdict += f": {result.problem}"
        echo(
            f"{result.case_id:<{widths[0]}}  {result.function:<{widths[1]}}  "
            f"{result.excess:>10.2e}  {verdict}"
        )
    passed = sum(result.passed for result in results)
    failed = len(results) - passed
    echo(f"{passed} passed, {failed} failed")
    return 0 if failed == 0 else 1


def _excess(actual: Any, expected: Any, rtol: float, atol: float) -> float:
    """Return the largest of |actual - expected| - (atol + rtol |expected|)."""
    if isinstance(expected, dict):
        if not isinstance(actual, Mapping):
            raise TypeError("the result has no named parts")
        absent = [key for key in expected if key not in actual]
        if absent:
            raise ValueError(f"the result has no part {absent[0]!r}")
        return max(
            (_excess(actual[key], expected[key], rtol, atol) for key in expected),
            default=-atol,
        )
    wanted, got = (np.asarray(values, dtype=np.float64) for values in (expected, actual))
    if got.shape != wanted.shape:
        raise ValueError(f"the result has shape {got.shape}, expected is {wanted.shape}")
    if wanted.size == 0:
        return -atol
    with np.errstate(invalid="ignore"):
        excess = np.abs(got - wanted) - (atol + rtol * np.abs(wanted))
    same = (got == wanted) | (np.isnan(got) & np.isnan(wanted))
    excess = np.where(same, -atol - rtol * np.nan_to_num(np.abs(wanted), posinf=0.0), excess)
    return float(np.where(np.isnan(excess), math.inf, excess).max())
