"""Student-t and Gaussian distributions as torch distributions; the last axis is the event.

``scale`` is always standard-deviation-like: the square root of the diagonal of the scale
matrix. The covariance of a t distribution is nu / (nu - 2) times its scale matrix. Samples come
from torch's global generators, or from those of the thread (:mod:`t3vae.runtime.seeding`).
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from t3vae.errors import ConfigError
from t3vae.maths.constants import log_t_normalizer
from t3vae.runtime.seeding import generator

__all__ = [
    "DiagonalGaussian",
    "IndependentT",
    "MultivariateT",
    "TMixture",
    "check_event",
    "log_t_normalizer_tensor",
    "standard_gamma",
]


def log_t_normalizer_tensor(nu: Tensor, d: int) -> Tensor:
    r"""Return log C_{nu,d} elementwise, differentiable in nu.

    .. math:: \log C_{\nu,d} = \log\Gamma(\tfrac{\nu+d}{2}) - \log\Gamma(\tfrac{\nu}{2})
              - \tfrac d2 \log(\nu\pi)

    The log-gammas are taken in float64, because their difference cancels; the result has
    the type of nu.

    Args:
        nu: degrees of freedom, any shape.
        d: dimension.

    Example:
        >>> round(log_t_normalizer_tensor(torch.tensor(1.0), 1).item(), 4)
        -1.1447
    """
    half = nu.double() * 0.5
    value = torch.lgamma(half + 0.5 * d) - torch.lgamma(half)
    return (value - (0.5 * d) * torch.log(half * (2 * math.pi))).to(nu.dtype)


def standard_gamma(concentration: Tensor | float, shape: torch.Size, like: Tensor) -> Tensor:
    """Draw Gamma(concentration, 1) variables, bounded away from zero.

    Gradients reach a concentration that requires them (implicit reparameterisation); with a
    number nothing is recorded.

    Args:
        concentration: a number, or a tensor that broadcasts to ``shape``.
        shape: shape of the draw.
        like: tensor that gives type and device.
    """
    if isinstance(concentration, Tensor):
        draw: Tensor = torch._standard_gamma(
            concentration.expand(shape), generator(concentration.device)
        )
        return draw.clamp(min=torch.finfo(draw.dtype).tiny)
    filled = torch.full(shape, concentration, dtype=like.dtype, device=like.device)
    draw = torch._standard_gamma(filled, generator(like.device))
    if concentration < 1:
        draw.clamp_(min=torch.finfo(draw.dtype).tiny)
    return draw


class _LocationScale(Distribution):
    """A distribution with location [..., d] and diagonal scale [..., d], [..., 1] or a number."""

    arg_constraints: ClassVar[dict[str, Any]] = {}
    support = constraints.real_vector
    has_rsample = True
    loc: Tensor
    scale: Tensor

    def __init__(self, loc: Tensor, scale: Tensor | float, batch: torch.Size) -> None:
        if not isinstance(loc, Tensor) or loc.dim() < 1:
            raise ConfigError("loc: must be a tensor of shape [..., d] with at least one axis.")
        self.loc = loc
        if not isinstance(scale, Tensor):
            scale = torch.full((1,), float(scale), dtype=loc.dtype, device=loc.device)
        elif scale.dim() == 0:
            scale = scale.reshape(1)
        self.scale = scale
        shape = loc.shape if scale.shape == loc.shape else _broadcast(loc.shape, scale.shape)
        if shape[-1] != loc.shape[-1]:
            raise ConfigError(
                f"scale: last axis {scale.shape[-1]} must be 1 or the dimension {loc.shape[-1]}."
            )
        leading = shape[:-1]
        super().__init__(
            leading if not batch or batch == leading else _broadcast(leading, batch),
            shape[-1:],
            validate_args=False,
        )

    def _sum_log_scale(self) -> Tensor:
        """Return the log-determinant of the scale, [...]."""
        log_scale = self.scale.log()
        if self.scale.shape[-1] == 1:
            return log_scale.squeeze(-1) * self.event_shape[0]
        return log_scale.sum(-1)

    def _per_coordinate(self, value: Tensor) -> Tensor:
        return value.expand(self._extended_shape())

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draw without gradients; see :meth:`rsample`."""
        with torch.no_grad():
            return self.rsample(sample_shape)


class DiagonalGaussian(_LocationScale):
    """The normal distribution N(loc, diag(scale^2)).

    Args:
        loc: mean, [..., d].
        scale: standard deviation, [..., d], [..., 1] or a number.

    Example:
        >>> distribution = DiagonalGaussian(torch.zeros(3, 2), 1.5)
        >>> distribution.log_prob(distribution.rsample()).shape
        torch.Size([3])
    """

    def __init__(self, loc: Tensor, scale: Tensor | float) -> None:
        super().__init__(loc, scale, torch.Size())

    @property
    def mean(self) -> Tensor:
        """Mean, [..., d]."""
        return self._per_coordinate(self.loc)

    @property
    def variance(self) -> Tensor:
        """Variance of each coordinate, [..., d]."""
        return self._per_coordinate(self.scale.square())

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Draw [*sample_shape, ..., d] with gradients to loc and scale."""
        shape = self._extended_shape(sample_shape)
        noise = _normal(shape, self.loc)
        return torch.addcmul(self.loc, self.scale, noise)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density at value [..., d]."""
        check_event(value, self.event_shape[0])
        delta = ((value - self.loc) / self.scale).square().sum(-1)
        constant = 0.5 * self.event_shape[0] * math.log(2 * math.pi)
        return -0.5 * delta - self._sum_log_scale() - constant


class _StudentT(_LocationScale):
    """A t distribution with one chi-square for each coordinate, or for each vector."""

    per_coordinate: ClassVar[bool]

    def __init__(self, loc: Tensor, scale: Tensor | float, nu: Tensor | float) -> None:
        batch = torch.Size()
        if isinstance(nu, Tensor):
            batch = nu.shape[:-1] if self.per_coordinate else nu.shape
        elif not 0 < float(nu) < math.inf:
            raise ConfigError(
                f"nu = {float(nu)}: must be positive and finite. For a normal one use "
                "DiagonalGaussian."
            )
        self.nu = nu if isinstance(nu, Tensor) else float(nu)
        super().__init__(loc, scale, batch)

    @property
    def mean(self) -> Tensor:
        """Mean, [..., d]; not a number where nu <= 1."""
        factor = _moment_factor(self.nu, 1, self.per_coordinate)
        return self._per_coordinate(self.loc * factor)

    @property
    def variance(self) -> Tensor:
        """Variance of each coordinate, nu / (nu - 2) scale^2, [..., d]; infinite at nu <= 2."""
        factor = _moment_factor(self.nu, 2, self.per_coordinate)
        return self._per_coordinate(self.scale.square() * factor)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Draw [*sample_shape, ..., d] with gradients to loc, scale and a tensor nu."""
        shape = self._extended_shape(sample_shape)
        noise = _normal(shape, self.loc)
        of_radius = shape if self.per_coordinate else torch.Size((*shape[:-1], 1))
        if isinstance(self.nu, Tensor):
            half = 0.5 * self.nu if self.per_coordinate else (0.5 * self.nu).unsqueeze(-1)
            noise = noise * (half / standard_gamma(half, of_radius, self.loc)).sqrt()
        else:
            gamma = standard_gamma(0.5 * self.nu, of_radius, self.loc)
            noise.mul_(gamma.mul_(2.0 / self.nu).rsqrt_())
        return torch.addcmul(self.loc, self.scale, noise)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density at value [..., d]."""
        d, nu = self.event_shape[0], self.nu
        check_event(value, d)
        delta = ((value - self.loc) / self.scale).square()
        if self.per_coordinate:
            d = 1
        else:
            delta = delta.sum(-1)
        if isinstance(nu, Tensor):
            terms = log_t_normalizer_tensor(nu, d) - 0.5 * (nu + d) * torch.log1p(delta / nu)
        else:
            terms = log_t_normalizer(nu, d) - 0.5 * (nu + d) * torch.log1p(delta * (1.0 / nu))
        return (terms.sum(-1) if self.per_coordinate else terms) - self._sum_log_scale()


class MultivariateT(_StudentT):
    r"""The multivariate t distribution with diagonal scale matrix; one chi-square per sample.

    .. math:: t_d(x\mid\mu,\Sigma,\nu) = C_{\nu,d}|\Sigma|^{-1/2}
              \big[1+\tfrac1\nu(x-\mu)^\top\Sigma^{-1}(x-\mu)\big]^{-(\nu+d)/2}

    Samples are :math:`\mu + \Sigma^{1/2}\varepsilon\sqrt{\nu/v}` with a normal vector
    :math:`\varepsilon` and **one** :math:`v\sim\chi^2_\nu` for all coordinates of a sample.
    When nu is a number the chi-square carries no gradient; when nu is a tensor, gradients
    reach it by implicit reparameterisation.

    Args:
        loc: location, [..., d].
        scale: square root of the scale-matrix diagonal, [..., d], [..., 1] or a number.
        nu: degrees of freedom, a number or a tensor [...] over the batch.

    Raises:
        ConfigError: if a number nu is not positive.

    Example:
        >>> distribution = MultivariateT(torch.zeros(4, 3), 2.0, nu=5.0)
        >>> distribution.rsample().shape, distribution.log_prob(torch.zeros(3)).shape
        (torch.Size([4, 3]), torch.Size([4]))
        >>> round(distribution.variance[0, 0].item(), 4)
        6.6667
    """

    per_coordinate = False


class IndependentT(_StudentT):
    r"""A product of univariate t distributions: one chi-square per coordinate.

    .. math:: \prod_{i=1}^d t_1(x_i\mid\mu_i,\sigma_i^2,\nu_i)

    This is not a multivariate t distribution: its coordinates are independent.

    Args:
        loc: location, [..., d].
        scale: scale of each coordinate, [..., d], [..., 1] or a number.
        nu: degrees of freedom, a number or a tensor [..., d] or [..., 1].

    Example:
        >>> distribution = IndependentT(torch.zeros(2), 1.0, nu=4.0)
        >>> distribution.sample((10,)).shape
        torch.Size([10, 2])
    """

    per_coordinate = True


class TMixture(Distribution):
    """A finite mixture of multivariate t distributions with diagonal scales.

    Args:
        weights: mixing weights, [K]; normalised here.
        loc: locations, [K, d].
        scale: square roots of the scale-matrix diagonals, [K, d].
        nu: degrees of freedom, [K].

    Raises:
        ConfigError: if shapes disagree or a weight, scale or nu is not positive.

    Example:
        >>> one = torch.ones(1)
        >>> distribution = TMixture(one, torch.zeros(1, 2), torch.ones(1, 2), 5 * one)
        >>> distribution.sample((3,)).shape
        torch.Size([3, 2])
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    support = constraints.real_vector
    has_rsample = False

    def __init__(self, weights: Tensor, loc: Tensor, scale: Tensor, nu: Tensor) -> None:
        k, d = loc.shape
        if weights.shape != (k,) or scale.shape != (k, d) or nu.shape != (k,):
            raise ConfigError(
                f"mixture: weights {tuple(weights.shape)}, loc {tuple(loc.shape)}, scale "
                f"{tuple(scale.shape)}, nu {tuple(nu.shape)} must be [K], [K, d], [K, d], [K]."
            )
        if not bool((weights >= 0).all() and weights.sum() > 0):
            raise ConfigError("mixture weights: must be non-negative with a positive sum.")
        if not bool((scale > 0).all() and (nu > 0).all()):
            raise ConfigError("mixture scale and nu: must be positive.")
        self.weights, self.loc, self.scale, self.nu = weights / weights.sum(), loc, scale, nu
        self._log_factor = self.weights.log() + log_t_normalizer_tensor(nu, d) - scale.log().sum(-1)
        super().__init__(torch.Size(), torch.Size((d,)), validate_args=False)

    @property
    def mean(self) -> Tensor:
        """Mean, [d]; not a number where a component has nu <= 1."""
        component_mean = self.loc * _moment_factor(self.nu, 1)
        return (self.weights.unsqueeze(-1) * component_mean).sum(0)

    @property
    def variance(self) -> Tensor:
        """Variance of each coordinate, [d]; infinite where a component has nu <= 2."""
        weights = self.weights.unsqueeze(-1)
        within = (weights * self.scale.square() * _moment_factor(self.nu, 2)).sum(0)
        return within + (weights * (self.loc - self.mean).square()).sum(0)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draw [*sample_shape, d]: a component, then one chi-square and a normal vector."""
        shape = self._extended_shape(sample_shape)
        count = math.prod(shape[:-1])
        with torch.no_grad():
            index = torch.zeros(0, dtype=torch.int64, device=self.weights.device)
            if count:  # torch refuses to draw nothing
                source = generator(self.weights.device)
                index = torch.multinomial(self.weights, count, replacement=True, generator=source)
            noise = _normal(torch.Size((count, shape[-1])), self.loc)
            half = 0.5 * self.nu[index]
            gamma = standard_gamma(half, half.shape, self.loc)
            noise.mul_((half / gamma).sqrt_().unsqueeze(-1)).mul_(self.scale[index])
            return noise.add_(self.loc[index]).reshape(shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density at value [..., d]."""
        d = self.event_shape[0]
        check_event(value, d)
        delta = ((value.unsqueeze(-2) - self.loc) / self.scale).square().sum(-1)
        terms = self._log_factor - 0.5 * (self.nu + d) * torch.log1p(delta / self.nu)
        return torch.logsumexp(terms, dim=-1)


def check_event(value: Tensor, d: int) -> None:
    """Refuse values whose last axis is not the event: they would broadcast to a wrong density.

    Raises:
        ConfigError: the last axis of ``value`` [..., d] is another.
    """
    if value.dim() < 1 or value.shape[-1] != d:
        raise ConfigError(
            f"value of shape {list(value.shape)}: must be [..., {d}], a point of the distribution."
        )


def _normal(shape: torch.Size, like: Tensor) -> Tensor:
    """Draw standard normal numbers of the type and on the device of ``like``."""
    device = like.device
    return torch.randn(shape, dtype=like.dtype, device=device, generator=generator(device))


def _broadcast(*shapes: torch.Size) -> torch.Size:
    try:
        return torch.Size(np.broadcast_shapes(*shapes))  # torch's own loads SymPy
    except ValueError as error:
        listed = ", ".join(str(tuple(shape)) for shape in shapes)
        raise ConfigError(f"shapes {listed}: must broadcast against each other.") from error


def _moment_factor(nu: Tensor | float, order: int, per_coordinate: bool = False) -> Tensor | float:
    """Return 1 (order 1) or nu / (nu - 2) (order 2), nan or infinite where there is none."""
    if not isinstance(nu, Tensor):
        if nu <= 1:
            return math.nan
        if order == 1:
            return 1.0
        return nu / (nu - 2) if nu > 2 else math.inf
    factor = torch.ones_like(nu) if order == 1 else nu / (nu - 2)
    if order == 2:
        factor = torch.where(nu > 2, factor, torch.inf)
    factor = torch.where(nu > 1, factor, torch.nan)
    return factor if per_coordinate else factor.unsqueeze(-1)
