"""Curves in data space: densities, survival functions and tail quantiles, with the truth.

Each curve is measured on the samples of one seed, on a grid that only the reference distribution
(or, without one, the test data) decides; over seeds it becomes a mean with its smallest and largest
value. The truth carries a 95 % band: what a sample of the same size drawn from it would show.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.stats import beta, binom

from t3vae.tables.csv_files import rounded_edges, significant

__all__ = ["COLUMNS", "Curve", "Tail", "curves", "rows", "tails"]

COLUMNS = (
    *("model", "latent", "panel", "left", "right"),
    *("mean", "minimum", "maximum", "seeds", "samples"),
)
BAND = (0.025, 0.975)

Array = np.ndarray


@dataclass(frozen=True)
class Tail:
    """One tail as a variable that is large in it: x, -x, or the norm of x.

    Attributes:
        name: ``right``, ``left`` or ``norm``.
        variable: maps samples [N, d] to sorted values [N].
        survival: true probability of exceeding a value.
        quantile: true value that is exceeded with probability p.
    """

    name: str
    variable: Callable[[Array], Array]
    survival: Callable[[Array], Array]
    quantile: Callable[[Array], Array]


@dataclass(frozen=True)
class Curve:
    """A grid, what is measured on it, and the truth.

    Attributes:
        panel: name of the panel of the figure (``body``, or a tail).
        left, right: ends of the bins; equal where the curve is given at points.
        measure: maps samples [N, d] to the curve [len(left)].
        truth: the true curve.
        band: lower and upper end of the sampling band of the truth.
    """

    panel: str
    left: Array
    right: Array
    measure: Callable[[Array], Array]
    truth: Array
    band: tuple[Array, Array]


def tails(test: Array, distribution: Any | None) -> list[Tail]:
    """Return the tails of a data set: left and right in one dimension, else of the norm.

    Args:
        test: test data [N, d].
        distribution: exact distribution; without one the test data stand for it.
    """
    variables: dict[str, Callable[[Array], Array]]
    if test.shape[1] > 1:
        variables = {"norm": lambda x: np.sort(np.linalg.norm(x, axis=1))}
        if hasattr(distribution, "norm_sf"):
            return [_norm_tail(variables["norm"], distribution)]
    else:
        variables = {"left": lambda x: np.sort(-x[:, 0]), "right": lambda x: np.sort(x[:, 0])}
        if distribution is not None:
            mirrored = lambda t: distribution.cdf(-t), lambda p: -distribution.quantile(p)
            return [
                Tail("left", variables["left"], *mirrored),
                Tail("right", variables["right"], distribution.sf, distribution.isf),
            ]
    return [_empirical_tail(name, variable, test) for name, variable in variables.items()]


def _norm_tail(variable: Callable[[Array], Array], distribution: Any) -> Tail:
    """Return the tail of the norm: exact at some radii, monotone cubics in log-log axes between.

    Beyond the last radius (mass below 1e-7) the distribution goes on as a power.
    """
    radii = [distribution.norm_quantile(0.5)]
    masses = [0.5]
    while masses[-1] > 1e-7:
        radii.append(1.06 * radii[-1])
        masses.append(distribution.norm_sf(radii[-1]))
    r, mass = np.log(radii), np.log(masses)
    for _ in range(2):  # two more points in line with the last two
        r = np.append(r, r[-1] + 2.0)
        mass = np.append(mass, mass[-1] + 2.0 * (mass[-1] - mass[-2]) / (r[-2] - r[-3]))
    survival = PchipInterpolator(r, mass)
    quantile = PchipInterpolator(mass[::-1], r[::-1])
    return Tail(
        "norm",
        variable,
        lambda t: np.asarray(np.exp(survival(np.log(t)))),
        lambda p: np.asarray(np.exp(quantile(np.log(p)))),
    )


def _empirical_tail(name: str, variable: Callable[[Array], Array], test: Array) -> Tail:
    ordered = variable(np.asarray(test, dtype=np.float64))

    return Tail(name, variable, partial(_beyond, ordered), lambda p: np.quantile(ordered, 1.0 - p))


def _beyond(ordered: Array, t: Array) -> Array:
    """Return the share of a sorted sample beyond each value."""
    return np.asarray(1.0 - np.searchsorted(ordered, t, side="right") / len(ordered))


def curves(kind: str, test: Array, distribution: Any | None, generated: int) -> list[Curve]:
    """Return the curves of one table.

    Args:
        kind: ``densities``, ``densities_log``, ``survival`` or ``quantiles``.
        test: test data [N, d].
        distribution: exact distribution, or None.
        samples: size of one sample, for the band of the truth.
    """
    if kind.startswith("densities"):
        level, bins = (1e-3, 100) if kind == "densities" else (1e-6, 90)
        known = distribution if test.shape[1] == 1 else None
        edges = _edges(test, known, level, bins, uniform=kind == "densities")
        return [_density(edges, known, test, generated)]
    make = {"survival": _survival, "quantiles": _quantiles}[kind]
    # a variable that is not positive in its tail has none: all data lie on the other side
    found = tails(test, distribution)
    return [make(tail, generated) for tail in found if tail.quantile(np.array([0.1, 1e-6]))[1] > 0]


def _edges(
    test: Array, distribution: Any | None, level: float, bins: int, *, uniform: bool
) -> Array:
    """Return edges from quantile ``level`` to 1 - ``level``; wider in the tails if not uniform."""
    levels = np.array([level, 0.25, 0.5, 0.75, 1.0 - level])
    if distribution is None:
        low, q1, middle, q3, high = np.quantile(np.asarray(test, dtype=np.float64)[:, 0], levels)
    else:
        low, q1, middle, q3, high = np.asarray(distribution.quantile(levels))
    if not high > low:  # a constant column
        half = 1e-3 * abs(low) or 1.0
        low, high, uniform = low - half, high + half, True
    if uniform:
        edges = np.linspace(low, high, bins + 1)
    else:
        scale = max(q3 - q1, np.finfo(np.float64).tiny)
        ends = np.arcsinh((np.array([low, high]) - middle) / scale)
        edges = middle + scale * np.sinh(np.linspace(ends[0], ends[1], bins + 1))
    return rounded_edges(edges)


def _density(edges: Array, distribution: Any | None, test: Array, generated: int) -> Curve:
    widths = np.diff(edges)

    def measure(x: Array) -> Array:
        counts = np.diff(np.searchsorted(np.sort(x[:, 0]), edges))
        return np.asarray(counts / (len(x) * widths))

    if distribution is None:
        mass = measure(np.asarray(test, dtype=np.float64)) * widths
    else:
        mass = np.diff(np.asarray(distribution.cdf(edges)))
    low, high = binom.ppf(np.array(BAND)[:, None], generated, mass) / generated / widths
    return Curve("body", edges[:-1], edges[1:], measure, mass / widths, (low, high))


def _survival(tail: Tail, generated: int, points: int = 41) -> Curve:
    ends = tail.quantile(np.array([0.1, 1e-6]))
    stop = float(ends[1])
    start = max(float(ends[0]), 1e-3 * stop)
    grid = np.array([significant(t) for t in np.geomspace(start, 3.0 * stop, points)])

    truth = tail.survival(grid)
    low, high = binom.ppf(np.array(BAND)[:, None], generated, np.clip(truth, 0.0, 1.0)) / generated
    return Curve(
        tail.name, grid, grid, lambda x: _beyond(tail.variable(x), grid), truth, (low, high)
    )


def _quantiles(tail: Tail, generated: int, points: int = 25) -> Curve:
    """Return the quantile that is exceeded with each probability, against the true one."""
    smallest = max(1e-5, 2.0 / generated)
    levels = np.geomspace(0.1, smallest, points)
    truth = np.array([significant(t) for t in tail.quantile(levels)])
    ranks = levels * generated
    # U_(k) of a uniform sample is Beta(k, N + 1 - k): the band of the order statistic.
    lower = tail.quantile(np.asarray(beta.ppf(BAND[1], ranks, generated + 1 - ranks)))
    upper = tail.quantile(np.asarray(beta.ppf(BAND[0], ranks, generated + 1 - ranks)))
    return Curve(
        *(tail.name, truth, truth, lambda x: np.quantile(tail.variable(x), 1.0 - levels)),
        *(truth, (lower, upper)),
    )


def rows(
    curve: Curve,
    model: str,
    latent: str | None,
    values: Sequence[Array],
    generated: int | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield the rows of one curve over seeds; ``model`` "truth" takes the true curve.

    Args:
        curve: grid and truth.
        model: name of the model, or ``truth``.
        latent: latent distribution that the samples came from.
        values: one measured curve a seed; ignored for the truth.
        samples: number of samples of all seeds together.
    """
    if model == "truth":
        mean, (low, high), seeds = curve.truth, curve.band, None
    else:
        stack = np.stack(list(values))
        mean, low, high, seeds = stack.mean(0), stack.min(0), stack.max(0), len(values)
    for i in range(len(curve.left)):
        ends = float(curve.left[i]), float(curve.right[i])
        spread = (significant(float(v[i])) for v in (mean, low, high))
        row = model, latent, curve.panel, *ends, *spread, seeds, generated
        yield dict(zip(COLUMNS, row, strict=True))
