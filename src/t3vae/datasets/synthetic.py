"""The univariate target: a mixture of Student t distributions with everything about it exact.

    p(x) = sum_k w_k t_1(x | m_k, s_k, nu_k),

where ``s_k`` is the entry of the scale matrix (variance-like). The default is the target
of Kim et al. 2024: 0.6 t_1(-2, 1, 5) + 0.4 t_1(2, 1, 5).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from t3vae.datasets import SPLITS
from t3vae.errors import ConfigError
from t3vae.runtime.seeding import numpy_generator

__all__ = ["UNIVARIATE", "UnivariateTMixture", "build", "distribution", "drawn"]

Array = NDArray[np.float64]

UNIVARIATE: list[dict[str, float]] = [
    {"weight": 0.6, "mean": -2.0, "scale": 1.0, "nu": 5.0},
    {"weight": 0.4, "mean": 2.0, "scale": 1.0, "nu": 5.0},
]


class UnivariateTMixture:
    """Mixture of univariate Student t distributions.

    Points may have shape ``[N]`` or ``[N, 1]``; values come back as ``[N]``, scores in the
    shape of the points.

    Args:
        components: one mapping per component with ``weight``, ``mean``, ``scale``
            (variance-like) and ``nu``.

    Raises:
        ConfigError: no component, a weight, scale or nu that is not positive, or weights
            that do not sum to one.

    Example:
        >>> target = UnivariateTMixture(UNIVARIATE)
        >>> round(float(target.sf(6.0)), 10)
        0.0022125551
    """

    dim = 1

    def __init__(self, components: Sequence[Mapping[str, float]] = UNIVARIATE) -> None:
        table = np.array(
            [[c[key] for key in ("weight", "mean", "scale", "nu")] for c in components],
            dtype=np.float64,
        ).reshape(-1, 4)
        self.weights, self.means, scales, self.nus = table.T
        if len(table) == 0 or not np.isfinite(table).all() or (table[:, [0, 2, 3]] <= 0).any():
            raise ConfigError(
                f"components = {list(components)!r}: give at least one component with finite "
                "mean and positive weight, scale and nu."
            )
        if abs(self.weights.sum() - 1.0) > 1e-9:
            raise ConfigError(
                f"components: weights sum to {self.weights.sum():.12g}, not to 1. "
                "Change one of them."
            )
        self.deviations = np.sqrt(scales)
        self._log_constants = (
            special.gammaln((self.nus + 1) / 2)
            - special.gammaln(self.nus / 2)
            - 0.5 * np.log(self.nus * np.pi * scales)
        )

    @property
    def tail_index(self) -> list[float | None]:
        """Tail index of each column: the smallest nu."""
        return [float(self.nus.min())]

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        """Draw ``[n, 1]`` points in random order, component counts multinomial."""
        parts = [
            mean + deviation * rng.standard_t(nu, count)
            for mean, deviation, nu, count in zip(
                self.means,
                self.deviations,
                self.nus,
                rng.multinomial(n, self.weights / self.weights.sum()),
                strict=True,
            )
        ]
        points = np.concatenate(parts)
        rng.shuffle(points)
        return points[:, None]

    def _standardise(self, x: ArrayLike) -> Array:
        points = np.asarray(x, dtype=np.float64)
        points = points[..., 0] if points.ndim == 2 and points.shape[1] == 1 else points
        return (points[..., None] - self.means) / self.deviations

    def _component_log_pdf(self, u: Array) -> Array:
        return self._log_constants - (self.nus + 1) / 2 * np.log1p(u * u / self.nus)

    def log_prob(self, x: ArrayLike) -> Array:
        """Log density ``[N]``."""
        u = self._standardise(x)
        return np.asarray(special.logsumexp(self._component_log_pdf(u), b=self.weights, axis=-1))

    def pdf(self, x: ArrayLike) -> Array:
        """Density ``[N]``."""
        return np.exp(self._component_log_pdf(self._standardise(x))) @ self.weights

    def score(self, x: ArrayLike) -> Array:
        """Derivative of the log density, in the shape of ``x``."""
        u = self._standardise(x)
        log_terms = self._component_log_pdf(u) + np.log(self.weights)
        shares = special.softmax(log_terms, axis=-1)
        slopes = -(self.nus + 1) * u / (self.nus + u * u) / self.deviations
        return np.reshape((shares * slopes).sum(-1), np.shape(x))

    def cdf(self, x: ArrayLike) -> Array:
        """Distribution function ``[N]``, with full relative accuracy in the left tail."""
        return special.stdtr(self.nus, self._standardise(x)) @ self.weights

    def sf(self, x: ArrayLike) -> Array:
        """Survival function ``[N]``, with full relative accuracy in the right tail."""
        return special.stdtr(self.nus, -self._standardise(x)) @ self.weights

    def quantile(self, p: ArrayLike) -> Array:
        """Quantiles by bracketed Newton steps, to the accuracy of float64 numbers.

        Args:
            p: probabilities strictly between 0 and 1, any shape.

        Raises:
            ConfigError: a probability outside (0, 1).

        Example:
            >>> round(float(UnivariateTMixture(UNIVARIATE).quantile(1e-5)), 5)
            -16.54427
        """
        p = np.asarray(p, dtype=np.float64)
        return np.where(
            p <= 0.5, -self._tail_root(p, left=True), self._tail_root(1 - p, left=False)
        )

    def isf(self, q: ArrayLike) -> Array:
        """Points above which the distribution has mass ``q`` (accurate for tiny ``q``)."""
        return self._tail_root(np.asarray(q, dtype=np.float64), left=False)

    def _tail_root(self, q: Array, *, left: bool) -> Array:
        """Return y with P(Y > y) = q, where Y = -X for the left tail and X for the right."""
        if not ((q > 0) & (q < 1)).all():
            raise ConfigError(f"probability {q}: must be greater than 0 and less than 1.")
        means = -self.means if left else self.means
        ends = means - self.deviations * special.stdtrit(self.nus, q[..., None])
        low, high = ends.min(-1), ends.max(-1)  # a mixture quantile lies between its components'
        pad = 1e-12 * (1 + np.maximum(np.abs(low), np.abs(high)))
        low, high = low - pad, high + pad
        y = (low + high) / 2
        for _ in range(200):
            u = (y[..., None] - means) / self.deviations
            tail = special.stdtr(self.nus, -u) @ self.weights
            density = np.exp(self._component_log_pdf(u)) @ self.weights
            gap = np.log(tail / q)  # decreasing in y, nearly linear in log y far out
            low, high = np.where(gap > 0, y, low), np.where(gap > 0, high, y)
            step = y + gap * tail / density
            step = np.where((step > low) & (step < high), step, (low + high) / 2)
            moved = np.abs(step - y)
            y = step
            if (moved <= 4e-16 * np.maximum(1.0, np.abs(y))).all():
                break
        return y

    def tail_probability(self, threshold: float) -> dict[str, float]:
        """Mass beyond ``-threshold`` and ``threshold``: ``left_tail`` and ``right_tail``."""
        return {
            "left_tail": float(self.cdf(-threshold)),
            "right_tail": float(self.sf(threshold)),
        }

    def tail_quantile(self, view: str, p: float) -> float:
        """Point beyond which the view has mass ``p``; view ``left_tail`` looks at -X."""
        return float(self._tail_root(np.asarray(p, dtype=np.float64), left=self._is_left(view)))

    def tail_mean(self, view: str, p: float) -> float:
        """Expected shortfall E[Y | Y > y_p] of the view, y_p its upper p-quantile.

        For one t distribution, E[T; T > a] = f(a) (nu + a^2) / (nu - 1).
        """
        left = self._is_left(view)
        point = self.tail_quantile(view, p)
        means = -self.means if left else self.means
        u = (point - means) / self.deviations
        # the constants of the density hold 1/deviation; the moment wants it back
        density = np.exp(self._component_log_pdf(u)) * self.deviations
        moment = density * (self.nus + u * u) / (self.nus - 1)
        parts = means * special.stdtr(self.nus, -u) + self.deviations * moment
        return float(parts @ self.weights / p)

    @staticmethod
    def _is_left(view: str) -> bool:
        if view not in ("left_tail", "right_tail"):
            raise ConfigError(
                f"view {view!r}: must be 'left_tail' or 'right_tail' in one dimension."
            )
        return view == "left_tail"


def drawn(target: Any, config: Mapping[str, Any]) -> dict[str, Any]:
    """Draw the training, validation and test arrays of a distribution, each from its own seed."""
    arrays = {
        split: target.sample(
            config[split], numpy_generator(config["seeds"][split], f"data/{split}")
        ).astype(np.float32)
        for split in SPLITS
    }
    return {"arrays": arrays, "tail_index": target.tail_index, "extra": {}}


def distribution(config: Mapping[str, Any]) -> UnivariateTMixture:
    """Return the exact distribution of a data set with source ``t_mixture_1d``."""
    return UnivariateTMixture(config["components"])


def build(config: Mapping[str, Any]) -> dict[str, Any]:
    """Draw a data set with source ``t_mixture_1d``; see :mod:`t3vae.datasets`."""
    return drawn(distribution(config), config)
