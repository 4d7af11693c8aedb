"""Maximum-likelihood fit of a finite mixture of multivariate t distributions to latent codes.

Used to describe the aggregate posterior by a distribution that can be sampled: the prior of a model
and the distribution of its training codes differ, and samples are better taken from the latter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, minimize
from scipy.special import digamma, gammaln

from t3vae.errors import ConfigError, DataError
from t3vae.runtime.seeding import numpy_generator

__all__ = ["TMixtureFit", "fit_t_mixture"]

Array = NDArray[np.float64]

NU_MIN, NU_MAX = 1.0, 1e6
# Bounds of the scale of a component, relative to the robust scale of the sample.
SCALE_MIN, SCALE_MAX = 1e-3, 1e3
# Groups of a sorted one-dimensional sample: single points at both ends, then groups that
# grow in proportion to the rank, up to a share of the sample.
GROUP_GROWTH, GROUP_SHARE = 0.006, 1 / 2000


@dataclass(frozen=True)
class TMixtureFit:
    """A fitted mixture of t distributions with diagonal scales.

    Attributes:
        weights: mixing weights, [K], largest first.
        loc: locations, [K, d].
        scale: square roots of the scale-matrix diagonals, [K, d].
        nu: degrees of freedom, [K].
        held_out_log_likelihood: mean log density of the held-out points for 1, 2, ...
            components, as far as they were tried.
        components: K, the smallest number within one standard error of the best of these.
    """

    weights: Array
    loc: Array
    scale: Array
    nu: Array
    held_out_log_likelihood: tuple[float, ...]
    components: int

    def log_prob(self, z: Array) -> Array:
        """Return the log density at z [N, d], [N]."""
        return _Parameters(np.log(self.weights), self.loc, np.log(self.scale), self.nu).log_prob(z)


@dataclass
class _Parameters:
    """Log weights [K], locations [K, d], log scales [K, d] and degrees of freedom [K]."""

    log_weights: Array
    loc: Array
    log_scale: Array
    nu: Array

    def terms(self, z: Array) -> tuple[Array, Array, Array]:
        """Return the log of each weighted component density, delta and log(1 + delta / nu)."""
        d = z.shape[1]
        precision = np.exp(-2 * self.log_scale)
        if d == 1:
            delta = (z - self.loc[:, 0]) ** 2
            delta *= precision[:, 0]
        else:
            delta = z**2 @ precision.T
            delta -= 2 * (z @ (self.loc * precision).T)
            delta += (self.loc**2 * precision).sum(1)
            np.maximum(delta, 0, out=delta)
        log_ratio = np.log1p(delta / self.nu)
        half = 0.5 * self.nu
        constant = (
            self.log_weights
            + gammaln(half + 0.5 * d)
            - gammaln(half)
            - 0.5 * d * np.log(math.pi * self.nu)
            - self.log_scale.sum(1)
        )
        return constant - (half + 0.5 * d) * log_ratio, delta, log_ratio

    def log_prob(self, z: Array) -> Array:
        """Return the log density of the mixture at z [N, d]."""
        return _log_sum_exp(self.terms(z)[0])

    @classmethod
    def unpack(cls, vector: Array, k: int, d: int) -> _Parameters:
        """Return parameters from a vector; log weights are normalised."""
        logits, loc, log_scale, log_nu = np.split(vector, [k, k + k * d, k + 2 * k * d])
        log_weights = logits - _log_sum_exp(logits[None])[0]
        return cls(log_weights, loc.reshape(k, d), log_scale.reshape(k, d), np.exp(log_nu))


@dataclass
class _Moments:
    """Sums over points that both the EM step and the gradient need, per component."""

    log_likelihood: float
    mass: Array  # sum of responsibilities r, [K]
    weighted: Array  # sum of r u with u = (nu + d) / (nu + delta), [K]
    first: Array  # sum of r u z, [K, d]
    second: Array  # sum of r u z^2, [K, d]
    log_ratio: Array  # sum of r log(1 + delta / nu), [K]


def _moments(parameters: _Parameters, z: Array, z_squared: Array, share: Array) -> _Moments:
    d = z.shape[1]
    log_terms, delta, log_ratio = parameters.terms(z)
    log_density = _log_sum_exp(log_terms)
    log_terms -= log_density[:, None]
    responsibility = np.exp(log_terms, out=log_terms)
    responsibility *= share[:, None]
    mass = responsibility.sum(0)
    ratio = np.einsum("nk,nk->k", responsibility, log_ratio)
    delta += parameters.nu
    weighted = np.divide(responsibility, delta, out=responsibility)
    weighted *= parameters.nu + d
    return _Moments(
        log_likelihood=float(share @ log_density),
        mass=mass,
        weighted=weighted.sum(0),
        first=weighted.T @ z,
        second=weighted.T @ z_squared,
        log_ratio=ratio,
    )


def _em_step(parameters: _Parameters, moments: _Moments) -> _Parameters:
    """Return the parameters after one parameter-expanded EM step (Liu, Rubin & Wu 1998)."""
    d = parameters.loc.shape[1]
    mass = np.maximum(moments.mass, 1e-12)
    weighted = np.maximum(moments.weighted, 1e-300)
    loc = moments.first / weighted[:, None]
    variance = moments.second / weighted[:, None] - loc**2
    # mean of log u - u under the responsibilities, and the t distribution's own expectation of log
    # u
    mean_log = np.log1p(d / parameters.nu) - moments.log_ratio / mass
    half = 0.5 * (parameters.nu + d)
    target = 1 + mean_log - weighted / mass + digamma(half) - np.log(half)
    low = np.full_like(mass, math.log(NU_MIN))
    high = np.full_like(mass, math.log(NU_MAX))
    for _ in range(40):
        middle = 0.5 * (low + high)
        half = 0.5 * np.exp(middle)
        larger = np.log(half) - digamma(half) + target > 0
        low, high = np.where(larger, middle, low), np.where(larger, high, middle)
    return _Parameters(
        log_weights=np.log(mass / mass.sum()),
        loc=loc,
        log_scale=0.5 * np.log(np.clip(variance, SCALE_MIN**2, SCALE_MAX**2)),
        nu=np.exp(0.5 * (low + high)),
    )


def _gradient(parameters: _Parameters, moments: _Moments) -> Array:
    """Return the gradient of the mean log-likelihood in the packed parameters."""
    d = parameters.loc.shape[1]
    nu, loc = parameters.nu, parameters.loc
    precision = np.exp(-2 * parameters.log_scale)
    weighted = moments.weighted[:, None]
    centred_first = moments.first - weighted * loc
    centred_second = moments.second - 2 * loc * moments.first + weighted * loc**2
    distance = (centred_second * precision).sum(1)  # sum of r u delta
    normalizer = nu * (digamma(0.5 * (nu + d)) - digamma(0.5 * nu)) - d
    by_log_nu = 0.5 * (normalizer * moments.mass - nu * moments.log_ratio + distance)
    return np.concatenate(
        (
            moments.mass - np.exp(parameters.log_weights),
            (centred_first * precision).ravel(),
            (centred_second * precision - moments.mass[:, None]).ravel(),
            by_log_nu,
        )
    )


def _maximize(
    start: _Parameters, z: Array, share: Array, iterations: int, tolerance: float
) -> tuple[_Parameters, float]:
    """Return the local maximum of the log-likelihood from a start, and its value.

    EM finds the region and L-BFGS-B, with the same sums, the maximum itself: EM alone
    creeps where components overlap and where nu is large.
    """
    z_squared = z**2
    k, d = start.loc.shape
    parameters, previous = start, -math.inf
    for _ in range(iterations):
        moments = _moments(parameters, z, z_squared, share)
        if moments.log_likelihood - previous < 100 * tolerance:
            break
        previous = moments.log_likelihood
        parameters = _em_step(parameters, moments)

    def negative(vector: Any) -> Any:
        candidate = _Parameters.unpack(vector, k, d)
        sums = _moments(candidate, z, z_squared, share)
        return -sums.log_likelihood, -_gradient(candidate, sums)

    free = np.full(k * d, np.inf)
    scales, one = np.full(k * d, 1.0), np.full(k, 1.0)
    lower = (-20 * one, -free, math.log(SCALE_MIN) * scales, math.log(NU_MIN) * one)
    upper = (20 * one, free, math.log(SCALE_MAX) * scales, math.log(NU_MAX) * one)
    bounds = Bounds(np.concatenate(lower), np.concatenate(upper))
    options: Any = {"maxiter": 2 * iterations, "ftol": tolerance, "gtol": 1e-7, "maxcor": 20}
    found = parameters
    logits = found.log_weights - found.log_weights.max()
    packed = np.concatenate([logits, found.loc.ravel(), found.log_scale.ravel(), np.log(found.nu)])
    result = minimize(negative, packed, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return _Parameters.unpack(result.x, k, d), -float(result.fun)


def _slices(z: Array, share: Array, k: int) -> _Parameters:
    """Return a start of k components: equal shares along the axis of largest spread."""
    axis = int(np.argmax(z.std(0)))
    order = np.argsort(z[:, axis], kind="stable")
    rank = np.empty(len(z))
    rank[order] = np.cumsum(share[order]) - 0.5 * share[order]
    label = np.minimum((rank / share.sum() * k).astype(int), k - 1)
    loc, log_scale = np.empty((k, z.shape[1])), np.empty((k, z.shape[1]))
    for component in range(k):
        part = z[label == component]
        loc[component] = np.median(part, 0)
        spread = np.median(np.abs(part - loc[component]), 0)
        log_scale[component] = np.log(np.clip(spread, 10 * SCALE_MIN, SCALE_MAX))
    return _Parameters(np.full(k, -math.log(k)), loc, log_scale, np.full(k, 10.0))


def _split(fit: _Parameters, z: Array, share: Array) -> list[_Parameters]:
    """Return starts with one component more, splitting each of the two heaviest in halves."""
    starts = []
    for component in np.argsort(-fit.log_weights)[:2]:
        scale = np.exp(fit.log_scale[component])
        axis = int(np.argmax(scale))
        shift = np.zeros_like(scale)
        shift[axis] = 0.7 * scale[axis]
        loc = np.vstack((fit.loc, fit.loc[component] + shift))
        loc[component] -= shift
        log_weights = np.append(fit.log_weights, fit.log_weights[component] - math.log(2))
        log_weights[component] -= math.log(2)
        log_scale = np.vstack((fit.log_scale, fit.log_scale[component]))
        log_scale[[component, -1], axis] -= 0.3
        starts.append(
            _Parameters(log_weights, loc, log_scale, np.append(fit.nu, fit.nu[component]))
        )
    return starts


def _reduce(z: Array) -> tuple[Array, Array]:
    """Return points and shares: of a one-dimensional sample group means [G, 1] and shares [G].

    Groups are single points in both tails and stay narrow in the middle, so the likelihood
    hardly changes while its cost no longer depends on the size of the sample.
    """
    count = len(z)
    if z.shape[1] > 1:
        return z, np.full(count, 1 / count)
    ordered = np.sort(z[:, 0])
    cap = max(1, int(count * GROUP_SHARE))
    edges, rank = [0], 0
    while rank < count:
        distance = min(rank, count - rank)
        rank = min(count, rank + max(1, min(cap, int(distance * GROUP_GROWTH))))
        edges.append(rank)
    starts = np.array(edges[:-1])
    sizes = np.diff(edges)
    means = np.add.reduceat(ordered, starts) / sizes
    return means[:, None], sizes / count


def fit_t_mixture(
    z: NDArray[np.floating],
    *,
    max_components: int = 6,
    points: int = 50_000,
    held_out: float = 0.2,
    iterations: int = 100,
    tolerance: float = 1e-7,
    seed: int = 0,
) -> TMixtureFit:
    r"""Fit a mixture of t distributions with diagonal scales by maximum likelihood.

    .. math:: p(z) = \sum_{k=1}^K \pi_k\, t_d(z\mid\mu_k, \mathrm{diag}(s_k^2), \nu_k)

    Every component has its own :math:`\nu_k \in [1, 10^6]`, so light tails are allowed. For
    each K the best of several starts is kept (parameter-expanded EM, Liu, Rubin & Wu 1998,
    then L-BFGS-B on the same likelihood); K is the smallest number whose held-out
    log-likelihood is within one standard error of the largest, and the final fit uses all the
    points. Scales are bounded below by a thousandth of the sample's robust scale, so no
    component collapses on a point.

    Args:
        z: sample, [N, d].
        max_components: largest K that is tried, at least 1.
        points: largest number of points that are used, a random subset of z.
        held_out: share of these points kept for the choice of K, between 0 and 1.
        iterations: largest number of EM steps per start.
        tolerance: relative change of the mean log-likelihood at which a fit ends.
        seed: root seed of the subset and its division.

    Raises:
        ConfigError: if an option is out of range.
        DataError: if z is not [N, d] with at least 20 finite points.

    Example:
        >>> z = np.random.default_rng(0).standard_normal((2000, 1))
        >>> fit = fit_t_mixture(z, max_components=2, seed=0)
        >>> fit.components, fit.loc.shape
        (1, (1, 1))
    """
    wanted = {
        f"max_components = {max_components}: must be at least 1. Try 6.": max_components >= 1,
        f"points = {points}: must be at least 20. Try 50000.": points >= 20,
        f"held_out = {held_out}: must lie between 0 and 1. Try 0.2.": 0 < held_out < 1,
        f"iterations = {iterations}: must be at least 1. Try 100.": iterations >= 1,
        f"tolerance = {tolerance}: must be positive. Try 1e-7.": tolerance > 0,
    }
    if problems := [text for text, good in wanted.items() if not good]:
        raise ConfigError(problems)
    _check_sample(z)
    generator = numpy_generator(seed, "mixtures/points")
    chosen = generator.permutation(len(z))[:points]
    sample = np.asarray(z[chosen], dtype=np.float64)
    centre = np.median(sample, 0)
    quartiles = np.quantile(sample, [0.25, 0.75], axis=0)
    unit = (quartiles[1] - quartiles[0]) / 1.349
    unit = np.where(unit > 0, unit, sample.std(0))
    unit = np.where(unit > 0, unit, 1e-6 * (1 + np.abs(centre)))
    sample = (sample - centre) / unit

    count = max(1, round(held_out * len(sample)))
    test, train = sample[:count], sample[count:]
    reduced, share = _reduce(train)
    densities: list[Array] = []
    fits: list[_Parameters] = []
    for k in range(1, min(max_components, len(reduced)) + 1):
        starts = [_slices(reduced, share, k)]
        starts += _split(fits[-1], reduced, share) if fits else []
        candidates = [_maximize(start, reduced, share, iterations, tolerance) for start in starts]
        best = max(candidates, key=lambda candidate: candidate[1])[0]
        fits.append(best)
        densities.append(best.log_prob(test))
        scores = [float(density.mean()) for density in densities]
        if k >= 3 and max(scores[-2:]) <= max(scores[:-2]):  # Two in a row did not help.
            break
    # the smallest K whose held-out score is within one standard error of the best
    best_density = max(densities, key=lambda density: float(density.mean()))
    losses = [best_density - density for density in densities]
    near = [loss.mean() <= loss.std() / math.sqrt(len(loss)) for loss in losses]
    components = near.index(True) + 1
    reduced, share = _reduce(sample)
    final, _ = _maximize(fits[components - 1], reduced, share, iterations, tolerance)

    order = np.argsort(-final.log_weights, kind="stable")
    offset = float(np.log(unit).sum())
    return TMixtureFit(
        weights=np.exp(final.log_weights[order]),
        loc=final.loc[order] * unit + centre,
        scale=np.exp(final.log_scale[order]) * unit,
        nu=final.nu[order],
        held_out_log_likelihood=tuple(score - offset for score in scores),
        components=components,
    )


def _log_sum_exp(terms: Array) -> Array:
    largest = terms.max(1)
    return np.log(np.exp(terms - largest[:, None]).sum(1)) + largest


def _check_sample(z: NDArray[np.floating]) -> None:
    if np.ndim(z) != 2 or len(z) < 20:
        raise DataError(
            f"mixture fit: the sample has shape {np.shape(z)}; it must be [N, d] with at "
            "least 20 points."
        )
    bad = int((~np.isfinite(z)).any(1).sum())
    if bad:
        raise DataError(f"mixture fit: {bad} of {len(z)} points are not finite.")
