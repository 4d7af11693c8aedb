"""Evaluation of test vectors with the package's own public functions.

A vector file is JSON: ``{"cases": [{"id", "fn", "args", "expect", "rtol", "atol"}, ...]}``.
Arguments and results are numbers or nested lists; arrays are (batch, dimension); every
comparison is in float64. Each name in :data:`FUNCTIONS` calls the code that training and
evaluation use.
"""

from __future__ import annotations

import importlib
import inspect
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from t3vae.errors import ConfigError, T3VAEError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["FUNCTIONS", "CaseResult", "evaluate_case", "load_cases", "verify"]

DEFAULT_RTOL, DEFAULT_ATOL = 1e-9, 1e-11


def _call(target: str, *args: Any, **kwargs: Any) -> Any:
    """Call ``module:function`` of this package, imported at that moment."""
    module, name = target.split(":")
    return getattr(importlib.import_module(f"t3vae.{module}"), name)(*args, **kwargs)


def _tensor(values: Any) -> Tensor:
    import torch

    return torch.tensor(values, dtype=torch.float64)


def _array(values: Any) -> np.ndarray:
    return np.asarray(values, dtype=np.float64)


def _constants(nu: float, n: int, m: int, sigma: float) -> Any:
    return _call("maths.constants:gamma_constants", nu, n, m, sigma).to_dict()


def _gamma_reg(mu: Any, logvar: Any, nu: float, n: int, sigma: float) -> Any:
    mean = _tensor(mu)
    constants = _call("maths.constants:gamma_constants", nu, n, mean.shape[-1], sigma)
    return _call("maths.divergence:gamma_regularizer", mean, _tensor(logvar), constants)


def _gamma_loss(
    x: Any, recon: Any, mu: Any, logvar: Any, nu: float, sigma: float, beta: float
) -> Any:
    data, mean = _tensor(x), _tensor(mu)
    constants = _call("maths.constants:gamma_constants", nu, data.shape[-1], mean.shape[-1], sigma)
    loss = _call(
        "maths.divergence:gamma_loss", data, _tensor(recon), mean, _tensor(logvar), constants, beta
    )
    return {
        "recon": loss.reconstruction,
        "reg": loss.regularizer,
        "total_2x": loss.total,
        "L_gamma": loss.loss,
    }


def _t_logpdf(x: Any, mu: Any, Sigma_diag: Any, nu: float) -> Any:
    distribution = _call(
        "maths.distributions:MultivariateT", _tensor(mu), _tensor(Sigma_diag).sqrt(), nu
    )
    return distribution.log_prob(_tensor(x))


def _joint_logpdf(x: Any, z: Any, recon: Any, nu: float, sigma: float) -> Any:
    return _call("maths.divergence:joint_log_prob", *map(_tensor, (x, z, recon)), nu, sigma)


def _gamma_divergence(mu0: Any, S0: Any, mu1: Any, S1: Any, nu: float) -> Any:
    tensors = (_tensor(values) for values in (mu0, S0, mu1, S1))
    return _call("maths.divergence:gamma_divergence_t", *tensors, nu)


def _t3h_constants(nu: float, n: int, m1: int, m2: int, sigma: float) -> Any:
    return _call("maths.constants:hierarchical_constants", nu, n, m1, m2, sigma).to_dict()


def _t3h_loss(
    x: Any,
    recon: Any,
    mu1: Any,
    lv1: Any,
    mu2: Any,
    lv2: Any,
    prior_mu2: Any,
    nu: float,
    sigma: float,
    w1: Any,
) -> Any:
    data, level1, level2 = _tensor(x), _tensor(mu1), _tensor(mu2)
    sizes = (tensor.shape[-1] for tensor in (data, level1, level2))
    constants = _call("maths.constants:hierarchical_constants", nu, *sizes, sigma)
    loss = _call(
        "maths.hierarchical:hierarchical_loss",
        data,
        _tensor(recon),
        level1,
        _tensor(lv1),
        level2,
        _tensor(lv2),
        _tensor(prior_mu2),
        constants,
        None if w1 == "1+gamma" else float(w1),
    )
    return {
        "reg1": loss.regularizer1,
        "reg2": loss.regularizer2,
        "recon": loss.reconstruction,
        "total_2x": loss.total,
    }


def _t3h_joint_reg(
    mu1: Any, lv1: Any, mu2: Any, lv2: Any, prior_mu2: Any, nu: float, n: int, sigma: float
) -> Any:
    tensors = [_tensor(values) for values in (mu1, lv1, mu2, lv2, prior_mu2)]
    m = tensors[0].shape[-1] + tensors[2].shape[-1]
    constants = _call("maths.constants:gamma_constants", nu, n, m, sigma)
    return _call("maths.hierarchical:joint_hierarchical_regularizer", *tensors, constants)


def _ct3_reg(mu: Any, logvar: Any, class_mu: Any, nu: float, n: int, sigma: float) -> Any:
    mean = _tensor(mu)
    constants = _call("maths.constants:gamma_constants", nu, n, mean.shape[-1], sigma)
    return _call(
        "maths.divergence:conditional_regularizer",
        mean,
        _tensor(logvar),
        _tensor(class_mu),
        constants,
    )


def _kl_gauss_2x(mu: Any, logvar: Any, kappa: float) -> Any:
    return _call("maths.objectives:gaussian_kl_2x", _tensor(mu), _tensor(logvar), kappa)


def _neg_elbo_gauss(x: Any, recon: Any, mu: Any, logvar: Any, sigma: float, kappa: float) -> Any:
    tensors = (_tensor(values) for values in (x, recon, mu, logvar))
    return _call("maths.objectives:negative_elbo_gaussian", *tensors, sigma, kappa)


def _studentt_nll_2x(x: Any, mu: Any, loglam: Any, lognu: Any) -> Any:
    tensors = (_tensor(values) for values in (x, mu, loglam, lognu))
    return _call("maths.objectives:student_t_nll_2x", *tensors)


def _devae_reg_2x(z: Any, logvar: Any, nu: float) -> Any:
    return _call("maths.objectives:de_regularizer_2x", _tensor(z), _tensor(logvar), nu)


def _vaest_reg_2x(z: Any, mu: Any, var: Any, nu_q: Any, nu_p: float) -> Any:
    tensors = (_tensor(values) for values in (z, mu, var, nu_q))
    return _call("maths.objectives:student_t_kl_2x", *tensors, nu_p)


def _tilted_mu_star(tau: float, d: int) -> Any:
    return _call("maths.tilted:tilted_mu_star", tau, d)


def _tilted_kl(r: float, tau: float, d: int) -> Any:
    return _call("maths.tilted:tilted_kl", r, tau, d)


def _tilted_log_z(tau: float, d: int) -> Any:
    return _call("maths.tilted:tilted_log_normalizer", tau, d)


def _tilted_reg_2x(mu: Any, tau: float) -> Any:
    return _call("maths.tilted:tilted_regularizer_2x", _tensor(mu), tau)


def _factor_tc_2x(logits: Any) -> Any:
    return _call("maths.objectives:total_correlation_2x", _tensor(logits))


def _factor_disc_loss(logits_joint: Any, logits_perm: Any) -> Any:
    return _call("maths.objectives:discriminator_loss", _tensor(logits_joint), _tensor(logits_perm))


def _lt_class_counts(n_max: int, num_classes: int, imbalance: float) -> Any:
    return _call("datasets.long_tail:class_counts", n_max, num_classes, imbalance)


def _mmd_linear(a: Any, b: Any) -> Any:
    return _call("metrics.kernel:mmd_linear", _array(a), _array(b))


def _mmd_u(a: Any, b: Any, sigma2: float) -> Any:
    return _call("metrics.kernel:mmd_unbiased", _array(a), _array(b), sigma2)


def _hill(x: Any, k: int) -> Any:
    return _call("metrics.hill:hill", _array(x), k)


def _frechet_distance(mu1: Any, S1: Any, mu2: Any, S2: Any) -> Any:
    return _call("metrics.frechet:frechet_distance", mu1, S1, mu2, S2)


def _uni_logpdf(x: Any) -> Any:
    return _call("datasets.synthetic:uni_logpdf", _array(x))


def _uni_score(x: Any) -> Any:
    return _call("datasets.synthetic:uni_score", _array(x))


def _uni_quantile(p: Any) -> Any:
    return _call("datasets.synthetic:uni_quantile", p)


def _biv_pdf(a: Any, b: Any) -> Any:
    return _call("datasets.bivariate:biv_pdf", a, b)


def _ksd_imq_u(x: Any, score: Any) -> Any:
    return _call("metrics.stein:ksd_imq_u", _array(x), _array(score))


#: What a vector's ``fn`` may be.
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "constants": _constants,
    "gamma_reg": _gamma_reg,
    "gamma_loss": _gamma_loss,
    "t_logpdf": _t_logpdf,
    "joint_logpdf": _joint_logpdf,
    "D_gamma_t": _gamma_divergence,
    "t3h_constants": _t3h_constants,
    "t3h_loss": _t3h_loss,
    "t3h_joint_reg": _t3h_joint_reg,
    "ct3_reg": _ct3_reg,
    "kl_gauss_2x": _kl_gauss_2x,
    "neg_elbo_gauss": _neg_elbo_gauss,
    "studentt_nll_2x": _studentt_nll_2x,
    "devae_reg_2x": _devae_reg_2x,
    "vaest_reg_2x": _vaest_reg_2x,
    "tilted_mu_star": _tilted_mu_star,
    "tilted_kl": _tilted_kl,
    "tilted_logZ": _tilted_log_z,
    "tilted_reg_2x": _tilted_reg_2x,
    "factor_tc_2x": _factor_tc_2x,
    "factor_disc_loss": _factor_disc_loss,
    "lt_class_counts": _lt_class_counts,
    "mmd_linear": _mmd_linear,
    "mmd_u": _mmd_u,
    "hill": _hill,
    "frechet_distance": _frechet_distance,
    "uni_logpdf": _uni_logpdf,
    "uni_score": _uni_score,
    "uni_quantile": _uni_quantile,
    "biv_pdf": _biv_pdf,
    "ksd_imq_u": _ksd_imq_u,
}


@dataclass(frozen=True)
class CaseResult:
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

    def failure(problem: str) -> CaseResult:
        return CaseResult(case_id, name, math.inf, problem)

    if name not in FUNCTIONS:
        return failure(f"unknown function {name!r}")
    args = case.get("args")
    if not isinstance(args, dict):
        return failure("args: must be an object of named arguments")
    if "expect" not in case:
        return failure("expect: is missing")
    known = inspect.signature(FUNCTIONS[name]).parameters
    unknown = [key for key in args if key not in known]
    missing = [key for key in known if key not in args]
    if unknown or missing:
        parts = [f"unknown argument {key!r}" for key in unknown]
        parts += [f"missing argument {key!r}" for key in missing]
        return failure(", ".join(parts))
    try:
        rtol = float(case.get("rtol", DEFAULT_RTOL))
        atol = float(case.get("atol", DEFAULT_ATOL))
        excess = _excess(FUNCTIONS[name](**args), case["expect"], rtol, atol)
    except T3VAEError as error:
        return failure(str(error))
    except Exception as error:
        return failure(f"{type(error).__name__}: {error}")
    return CaseResult(case_id, name, excess)


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
    wanted = _array(expected)
    got = _array(actual.detach().cpu() if hasattr(actual, "detach") else actual)
    if got.shape != wanted.shape:
        raise ValueError(f"the result has shape {got.shape}, expected is {wanted.shape}")
    if wanted.size == 0:
        return -atol
    with np.errstate(invalid="ignore"):
        excess = np.abs(got - wanted) - (atol + rtol * np.abs(wanted))
    same = (got == wanted) | (np.isnan(got) & np.isnan(wanted))
    excess = np.where(same, -atol - rtol * np.nan_to_num(np.abs(wanted), posinf=0.0), excess)
    return float(np.where(np.isnan(excess), math.inf, excess).max())
