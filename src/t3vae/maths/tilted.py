r"""The exponentially tilted Gaussian prior: density proportional to exp(tau |z|) N(z; 0, I).

With :math:`J_p(x)=\int_0^{\pi/2} e^{-x\sin^2\theta}\cos^p\theta\,d\theta`, an integral without
cancellation, the confluent hypergeometric functions of the literature become elementary. All
constants are computed in float64.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import torch
from scipy.optimize import brentq
from torch import Tensor
from torch.distributions import Distribution, constraints

from t3vae.errors import ConfigError
from t3vae.maths.distributions import check_event
from t3vae.runtime.seeding import generator

__all__ = [
    "TiltedGaussian",
    "tilted_log_normalizer",
    "tilted_mean_norm",
    "tilted_mu_star",
    "tilted_regularizer_2x",
]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(400)
# The radial density is log-concave with second log-derivative at most -1, hence negligible
# beyond this distance from its mode.
_RADIAL_REACH = 14.0
_TABLE_SIZE = 20_001


def _angular_integral(x: float, power: int) -> float:
    """Return J_p(x) by Gauss-Legendre quadrature over the range where it matters."""
    upper = min(0.5 * math.pi, 16.0 / math.sqrt(2 * x + power + 1))
    theta = 0.5 * upper * (_NODES + 1)
    values = np.exp(-x * np.sin(theta) ** 2) * np.cos(theta) ** power
    return float(0.5 * upper * (_WEIGHTS @ values))


def tilted_mean_norm(r: float, d: int) -> float:
    r"""Return the mean norm of a N(mu, I) vector with |mu| = r.

    .. math:: \mathbb E\|z\| = \sqrt{\pi/2}\,L^{(d/2-1)}_{1/2}(-r^2/2)
              = \sqrt{2/\pi}\,\big[(d-1) J_{d-2}(r^2/2) + r^2 J_d(r^2/2)\big]

    For d = 1 the first term is exp(-r^2 / 2). Source: Floto et al. 2023.

    Args:
        r: norm of the mean.
        d: dimension.

    Example:
        >>> round(tilted_mean_norm(0.0, 2), 6)  # sqrt(pi / 2)
        1.253314
    """
    _check(d, r=r)
    x = 0.5 * r * r
    first = math.exp(-x) if d == 1 else (d - 1) * _angular_integral(x, d - 2)
    return math.sqrt(2 / math.pi) * (first + r * r * _angular_integral(x, d))


@lru_cache(maxsize=256)
def tilted_log_normalizer(tau: float, d: int) -> float:
    r"""Return log Z of the tilted prior.

    .. math:: Z_\tau = \mathbb E_{N(0,I)} e^{\tau\|z\|} =
              \frac{\int_0^\infty r^{d-1} e^{-r^2/2+\tau r}\,dr}{2^{d/2-1}\,\Gamma(d/2)}

    by quadrature around the mode, in log space. Source: Floto et al. 2023.

    Args:
        tau: tilt, at least 0.
        d: dimension.

    Example:
        >>> abs(tilted_log_normalizer(0.0, 3)) < 1e-12
        True
    """
    _check(d, tau=tau)
    mode = _radial_mode(tau, d)
    lower = max(0.0, mode - _RADIAL_REACH)
    half = 0.5 * (mode + _RADIAL_REACH - lower)
    logs = _radial_log_density(lower + half * (_NODES + 1), tau, d)
    top = float(logs.max())
    integral = half * float(_WEIGHTS @ np.exp(logs - top))
    return top + math.log(integral) - (0.5 * d - 1) * math.log(2) - math.lgamma(0.5 * d)


@lru_cache(maxsize=256)
def tilted_mu_star(tau: float, d: int) -> float:
    r"""Return the norm of mu that minimises the divergence to the tilted prior.

    The positive root of

    .. math:: 1 = \tau\sqrt{\pi/2}\,L^{(d/2)}_{-1/2}(-r^2/2) = \tau\sqrt{2/\pi}\,J_d(r^2/2)

    or 0 if there is none. Source: Floto et al. 2023, by root finding.

    Args:
        tau: tilt, at least 0.
        d: dimension.

    Example:
        >>> round(tilted_mu_star(50.0, 64), 6)
        49.365597
    """
    _check(d, tau=tau)

    def excess(r: float) -> float:
        return tau * math.sqrt(2 / math.pi) * _angular_integral(0.5 * r * r, d) - 1

    if excess(0.0) <= 0:
        return 0.0
    # J_d(r^2 / 2) < sqrt(pi / 2) / r, so the root is below tau.
    return float(brentq(excess, 0.0, tau, xtol=1e-13, rtol=8.9e-16))


def tilted_regularizer_2x(mu: Tensor, tau: float) -> Tensor:
    r"""Return the regularizer of the tilted VAE, per sample.

    .. math:: (\|\mu\| - \mu^*)^2

    This surrogate of twice the divergence drops the constant minimum. Source: Floto et al.
    2023.

    Args:
        mu: encoder mean (the covariance is the identity), [B, m].
        tau: tilt of the prior.

    Returns:
        [B].

    Example:
        >>> tilted_regularizer_2x(torch.ones(1, 4), 0.0).item()
        4.0
    """
    target = tilted_mu_star(float(tau), mu.shape[-1])
    return (torch.linalg.vector_norm(mu, dim=-1) - target).square()


class TiltedGaussian(Distribution):
    r"""The distribution with density proportional to :math:`e^{\tau\|z\|}\,N(z; 0, I)`.

    Samples are exact: a radius from its own distribution by inverse distribution function, times a
    uniform direction. Source: Floto et al. 2023.

    Args:
        tau: tilt, at least 0.
        d: dimension.

    Raises:
        ConfigError: if an argument is out of range.

    Example:
        >>> distribution = TiltedGaussian(20.0, 4)
        >>> distribution.sample((5,)).shape, distribution.log_prob(torch.zeros(5, 4)).shape
        (torch.Size([5, 4]), torch.Size([5]))
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    support = constraints.real_vector
    has_rsample = False

    def __init__(self, tau: float, d: int) -> None:
        self.tau = float(tau)
        self.log_normalizer = tilted_log_normalizer(self.tau, d)
        super().__init__(torch.Size(), torch.Size((d,)), validate_args=False)

    @property
    def mean(self) -> Tensor:
        """Mean, zero, [d]."""
        return torch.zeros(self.event_shape)

    @property
    def variance(self) -> Tensor:
        """Variance of each coordinate, E r^2 / d, [d]."""
        radii, distribution = _radial_table(self.tau, self.event_shape[0])
        middle = 0.5 * (radii[1:] + radii[:-1])
        second = float((middle**2 * np.diff(distribution)).sum())
        return torch.full(self.event_shape, second / self.event_shape[0])

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draw [*sample_shape, d] in torch's default type."""
        shape = self._extended_shape(sample_shape)
        radii, distribution = _radial_table(self.tau, shape[-1])
        source = generator(torch.device("cpu"))
        uniform = torch.rand(shape[:-1], dtype=torch.float64, generator=source).numpy()
        radius = torch.from_numpy(np.asarray(np.interp(uniform, distribution, radii)))
        direction = torch.randn(shape, dtype=torch.float64, generator=source)
        direction *= (radius / torch.linalg.vector_norm(direction, dim=-1)).unsqueeze(-1)
        return direction.to(torch.get_default_dtype())

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density at value [..., d]."""
        check_event(value, self.event_shape[0])
        squared = value.square().sum(-1)
        constant = 0.5 * self.event_shape[0] * math.log(2 * math.pi) + self.log_normalizer
        return self.tau * squared.sqrt() - 0.5 * squared - constant


def _radial_mode(tau: float, d: int) -> float:
    return 0.5 * (tau + math.sqrt(tau * tau + 4 * (d - 1)))


def _radial_log_density(r: np.ndarray, tau: float, d: int) -> np.ndarray:
    """Return the unnormalised log density of the radius."""
    value: np.ndarray = tau * r - 0.5 * r * r
    if d > 1:
        with np.errstate(divide="ignore"):
            value = value + (d - 1) * np.log(r)
    return value


@lru_cache(maxsize=16)
def _radial_table(tau: float, d: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a grid of radii and the distribution function on it."""
    mode = _radial_mode(tau, d)
    radii = np.linspace(max(0.0, mode - _RADIAL_REACH), mode + _RADIAL_REACH, _TABLE_SIZE)
    logs = _radial_log_density(radii, tau, d)
    density = np.exp(logs - logs.max())
    cells = 0.5 * (density[1:] + density[:-1])
    distribution = np.concatenate(([0.0], np.cumsum(cells)))
    return radii, distribution / distribution[-1]


def _check(d: int, **numbers: float) -> None:
    problems = [
        f"{name} = {value}: must be finite and at least 0."
        for name, value in numbers.items()
        if not (value >= 0 and math.isfinite(value))
    ]
    if not (isinstance(d, int) and d >= 1):
        problems.append(f"d = {d}: must be an integer of at least 1.")
    if problems:
        raise ConfigError(problems)
