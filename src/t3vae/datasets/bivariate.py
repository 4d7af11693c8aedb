"""The bivariate target: a heavy-tailed curve with elliptical t noise.

    X ~ t mixture,   (X, X + A sin(2 pi X / P)) + e,   e ~ t_2(0, s I, nu_e).

The defaults (A = 2, P = 8, X ~ 0.7 t_1(-2, 4, 5) + 0.3 t_1(2, 4, 5), nu_e = 6, s = 1)
are the target of Kim et al. 2024. Density and score are quadratures over X; masses of discs
and half discs are boundary integrals, because for e with radial distribution
P(|e| <= r) = 1 - (1 + r^2 / (nu s))^(-nu/2) the divergence theorem turns the mass of a region
into a smooth integral over its boundary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special

from t3vae.datasets.synthetic import UnivariateTMixture, drawn
from t3vae.errors import ConfigError

__all__ = ["BIVARIATE", "BivariateTMixture", "build", "distribution"]

Array = NDArray[np.float64]

BIVARIATE: list[dict[str, float]] = [
    {"weight": 0.7, "mean": -2.0, "scale": 4.0, "nu": 5.0},
    {"weight": 0.3, "mean": 2.0, "scale": 4.0, "nu": 5.0},
]

REACH = 60.0  # nodes beyond the outermost focus, in units of the distribution
NEAR = 64.0  # farther points get their own graded nodes
BLOCK = 2**20  # density terms at a time


class BivariateTMixture:
    """Distribution of ``(X, X + A sin(2 pi X / P)) + e``; points have shape ``[N, 2]``.

    Args:
        components: components of the distribution of X, as in
            :class:`~t3vae.datasets.synthetic.UnivariateTMixture`.
        amplitude: A.
        period: P > 0.
        noise_nu: degrees of freedom of the noise, > 0.
        noise_scale: s > 0, entry of the noise's scale matrix (variance-like).

    Raises:
        ConfigError: a parameter outside its range.

    Example:
        >>> target = BivariateTMixture()
        >>> target.pdf([[0.0, 0.0]]).round(6)
        array([0.01582])
    """

    dim = 2

    def __init__(
        self,
        components: Sequence[Mapping[str, float]] = BIVARIATE,
        amplitude: float = 2.0,
        period: float = 8.0,
        noise_nu: float = 6.0,
        noise_scale: float = 1.0,
    ) -> None:
        positive = {"period": period, "noise_nu": noise_nu, "noise_scale": noise_scale}
        for name, value in positive.items():
            if not 0 < value < np.inf:
                raise ConfigError(f"{name} = {value!r}: must be a finite number greater than 0.")
        if not np.isfinite(amplitude):
            raise ConfigError(f"amplitude = {amplitude!r}: must be a finite number.")
        self.curve_distribution = UnivariateTMixture(components)
        self.amplitude, self.period = float(amplitude), float(period)
        self.noise_nu, self.noise_scale = float(noise_nu), float(noise_scale)
        slope = 1 + abs(2 * np.pi * amplitude / period)
        # trapezoid steps this small against the nearest complex singularity leave ~1e-13
        self.step = 0.13 * min(
            np.sqrt(noise_scale * noise_nu / 6) * 2.6 / max(slope, 1.0),
            float(self.curve_distribution.deviations.min()),
        )

    @property
    def tail_index(self) -> list[float | None]:
        """Tail index of each column: the smaller one of curve and noise."""
        index = min(float(self.curve_distribution.nus.min()), self.noise_nu)
        return [index, index]

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        """Draw ``[n, 2]`` points; one chi-square per noise vector."""
        x = self.curve_distribution.sample(n, rng)[:, 0]
        noise = rng.standard_normal((n, 2))
        noise *= np.sqrt(self.noise_scale * self.noise_nu / rng.chisquare(self.noise_nu, n))[
            :, None
        ]
        return np.stack(self._curve(x), axis=1) + noise

    def _curve(self, x: Array) -> tuple[Array, Array]:
        return x, x + self.amplitude * np.sin(2 * np.pi * x / self.period)

    # --- density and score: quadrature over X ------------------------------------------

    def pdf(self, x: ArrayLike) -> Array:
        """Density ``[N]``."""
        return self._integrate(x)[:, 0]

    def log_prob(self, x: ArrayLike) -> Array:
        """Log density ``[N]``."""
        return np.log(self.pdf(x))

    def score(self, x: ArrayLike) -> Array:
        """Gradient of the log density ``[N, 2]``."""
        moments = self._integrate(x, gradient=True)
        return moments[:, 1:] / moments[:, :1]

    def _integrate(self, x: ArrayLike, *, gradient: bool = False) -> Array:
        """Return density and, when asked, its gradient: ``[N, 1 or 3]``."""
        points = np.asarray(x, dtype=np.float64).reshape(-1, 2)
        result = np.empty((len(points), 3 if gradient else 1))
        near = np.abs(points).max(1, initial=0) <= NEAR
        order = np.flatnonzero(near)[np.argsort(points[near, 0], kind="stable")]
        start = 0
        while start < len(order):
            # a block of neighbours shares its nodes
            length = max(1, int(BLOCK / (4 * REACH / self.step)))
            block = order[start : start + length]
            foci = np.concatenate([self.curve_distribution.means, points[block].ravel()])
            nodes = np.arange(foci.min() - REACH, foci.max() + REACH, self.step)
            weights = np.full(len(nodes), self.step)
            result[block] = self._terms(points[block], nodes, weights, gradient)
            start += length
        for index in np.flatnonzero(~near):
            nodes, weights = _graded(
                [*self.curve_distribution.means, *points[index]], 5 * self.step
            )
            result[index] = self._terms(points[index : index + 1], nodes, weights, gradient)[0]
        return result

    def _terms(self, points: Array, nodes: Array, weights: Array, gradient: bool) -> Array:
        nu, scale = self.noise_nu, self.noise_scale
        first, second = self._curve(nodes)
        masses = weights * self.curve_distribution.pdf(nodes) / (2 * np.pi * scale)
        a, b = points[:, :1] - first, points[:, 1:] - second
        square = a * a
        square += b * b
        square /= nu * scale
        np.log1p(square, out=square)
        square *= -(nu + 2) / 2
        kernel = np.exp(square)
        density = kernel @ masses
        if not gradient:
            return density[:, None]
        # d/da (1 + r^2/(nu s))^-(nu+2)/2 = -(nu+2)/(nu s) a (1 + r^2/(nu s))^-(nu+4)/2
        square *= (nu + 4) / (nu + 2)
        kernel = np.exp(square)
        kernel *= -(nu + 2) / (nu * scale)
        return np.stack([density, (kernel * a) @ masses, (kernel * b) @ masses], axis=1)

    # --- masses: boundary integrals ----------------------------------------------------

    def norm_sf(self, r: float, *, step: float | None = None) -> float:
        """Probability that the Euclidean norm exceeds ``r`` > 0.

        Args:
            r: radius.
            step: spacing of the quadrature; the default gives about nine digits.
        """
        step = step or 1.5 * self.step
        count = max(64, int(np.ceil(2 * np.pi * r / step)))
        angle = 2 * np.pi * np.arange(count) / count
        arc = r * np.cos(angle), r * np.sin(angle)
        return 1.0 - self._disc(arc, np.full(count, 2 * np.pi / count), r, step)

    def _disc(self, arc: tuple[Array, Array], weights: Array, r: float, step: float) -> float:
        """Return E_X of (1/2 pi) int F(|q|) dphi over an arc q = -c(X) + r u(t)."""
        nodes = np.arange(-r - REACH, r + REACH, step)
        masses = step * self.curve_distribution.pdf(nodes)
        total = 0.0
        length = max(1, BLOCK // len(weights))
        for start in range(0, len(nodes), length):
            part = slice(start, start + length)
            first, second = (c[:, None] for c in self._curve(nodes[part]))
            q1, q2 = arc[0] - first, arc[1] - second
            turn = arc[0] * q1 + arc[1] * q2  # q x dq/dt on a circle around the origin
            total += float(masses[part] @ ((self._swirl(q1, q2) * turn) @ weights))
        return total

    def _swirl(self, q1: Array, q2: Array) -> Array:
        """Return F(|q|) / (2 pi |q|^2), smooth at the origin; F is the radial distribution of e."""
        square = q1 * q1 + q2 * q2
        square /= self.noise_nu * self.noise_scale
        radial = -np.expm1(-self.noise_nu / 2 * np.log1p(square))
        square *= 2 * np.pi * self.noise_nu * self.noise_scale
        return np.divide(
            radial,
            square,
            out=np.full_like(square, 1 / (4 * np.pi * self.noise_scale)),
            where=square > 0,
        )

    def tail_probability(self, threshold: float) -> dict[str, float]:
        """Mass outside the disc of radius ``threshold``, by the sign of the first column."""
        r = float(threshold)
        beyond = self.norm_sf(r)
        # half plane {v_1 < 0}: e_1 is univariate t; half disc: arc and diameter
        nodes, weights = _graded([*self.curve_distribution.means, 0.0], 4 * self.step)
        half_plane = float(
            (weights * self.curve_distribution.pdf(nodes))
            @ special.stdtr(self.noise_nu, -nodes / np.sqrt(self.noise_scale))
        )
        count = max(4, int(np.ceil(r / (2 * self.step))))
        turn, turn_weights = _panels(np.linspace(np.pi / 2, 3 * np.pi / 2, count))
        half_disc = self._disc((r * np.cos(turn), r * np.sin(turn)), turn_weights, r, self.step)
        half_disc += self._diameter(r, count)
        left = half_plane - half_disc
        return {"left_tail": left, "right_tail": beyond - left}

    def _diameter(self, r: float, count: int) -> float:
        """Return the part of the boundary integral along v_1 = 0, from -r up to r."""
        heights, weights = _panels(np.linspace(-r, r, 2 * count))
        nodes = np.arange(-r - REACH, r + REACH, self.step)
        masses = self.step * self.curve_distribution.pdf(nodes)
        first, second = (c[:, None] for c in self._curve(nodes))
        swirl = self._swirl(np.broadcast_to(-first, (len(nodes), len(heights))), heights - second)
        return float(masses @ ((swirl * -first) @ weights))

    @lru_cache(maxsize=64)  # noqa: B019 - a distribution lives as long as its process
    def norm_quantile(self, p: float) -> float:
        """Radius beyond which the distribution has mass ``p``, to about nine digits."""
        if not 0 < p < 1:
            raise ConfigError(f"p = {p!r}: must be greater than 0 and less than 1.")
        low, high = 1e-3, 8.0
        while self.norm_sf(high) > p:
            low, high = high, 2 * high

        def gap(log_r: float) -> float:
            return float(np.log(self.norm_sf(np.exp(log_r)) / p))

        return float(np.exp(optimize.brentq(gap, np.log(low), np.log(high), xtol=1e-10)))

    def tail_quantile(self, view: str, p: float) -> float:
        """Point beyond which the view ``norm`` has mass ``p``."""
        self._check_view(view)
        return self.norm_quantile(p)

    @lru_cache(maxsize=64)  # noqa: B019
    def tail_mean(self, view: str, p: float) -> float:
        """Expected shortfall E[R | R > r_p] of the norm, to about four digits.

        E[R; R > q] = q S(q) + int_q^inf S(r) dr; beyond 4q the survival function follows its
        power law, whose exponent is the tail index.
        """
        self._check_view(view)
        q = self.norm_quantile(p)
        s, weights = special.roots_legendre(10)
        shares = 0.25 + 0.375 * (s + 1)  # r = q / share runs from 4q down to q
        values = [self.norm_sf(q / share, step=4.5 * self.step) for share in shares]
        inner = float(0.375 * weights @ (np.array(values) * q / shares**2))
        index = float(self.tail_index[0] or 0)
        outer = self.norm_sf(4 * q, step=4.5 * self.step) * 4 * q / (index - 1)
        return q + (inner + outer) / p

    @staticmethod
    def _check_view(view: str) -> None:
        if view != "norm":
            raise ConfigError(f"view {view!r}: must be 'norm' in two dimensions.")


def _panels(edges: Array) -> tuple[Array, Array]:
    """Return Gauss-Legendre nodes and weights, twelve on each panel."""
    x, w = special.roots_legendre(12)
    half = np.diff(edges)[:, None] / 2
    return (edges[:-1, None] + half * (x + 1)).ravel(), (half * w).ravel()


def _graded(foci: Sequence[float], width: float) -> tuple[Array, Array]:
    """Return quadrature nodes on the whole line: fine around foci, growing away from them."""
    fine = width * np.arange(int(np.ceil(NEAR / width)) + 1)
    steps = np.concatenate([fine, fine[-1] * 1.25 ** np.arange(1, 90)])
    edges = np.unique(np.concatenate([f + side * steps for f in foci for side in (-1, 1)]))
    keep = np.concatenate([[True], np.diff(edges) > 1e-6 * width])
    return _panels(edges[keep])


def distribution(config: Mapping[str, Any]) -> BivariateTMixture:
    """Return the exact distribution of a data set with source ``t_mixture_2d``."""
    keys = ("components", "amplitude", "period", "noise_nu", "noise_scale")
    return BivariateTMixture(**{key: config[key] for key in keys if key in config})


def build(config: Mapping[str, Any]) -> dict[str, Any]:
    """Draw a data set with source ``t_mixture_2d``; see :mod:`t3vae.datasets`."""
    return drawn(distribution(config), config)
