"""What metrics receive and return: samples, the reference, options and entries.

Samples and reference keep what several metrics need (sorted columns, tails, values of the
exact distribution function), so that it is computed once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from t3vae.errors import MetricError
from t3vae.settings.metrics import METRICS, SHARED

__all__ = [
    *("Reference", "Sample", "entry", "mean_entry", "options_of", "pair", "require_finite"),
    "subsample",
]

Array = NDArray[np.floating[Any]]

OF_A_VALUE = ("p_value", "null_sd", "se", "ci_low", "ci_high")


class Sample:
    """Points ``[N, d]`` and what is computed from them once.

    Args:
        points: the points.
        finite: whether every value must be finite; importance weights need not be.

    Raises:
        MetricError: not two-dimensional, empty, or with values that are not finite.
    """

    def __init__(self, points: ArrayLike, *, finite: bool = True) -> None:
        array = np.asarray(points)
        if array.ndim != 2 or array.size == 0 or array.dtype.kind != "f":
            raise MetricError(
                f"points have shape {array.shape} and type {array.dtype}: "
                "must be a floating-point array [N, d] with N >= 1 and d >= 1."
            )
        self.points: Array = require_finite(array) if finite else array

    def __len__(self) -> int:
        return len(self.points)

    @property
    def dim(self) -> int:
        """Number of columns."""
        return int(self.points.shape[1])

    @cached_property
    def sorted_columns(self) -> Array:
        """Each column in ascending order ``[d, N]``."""
        return np.sort(np.asarray(self.points).T.copy(), axis=1)

    @cached_property
    def norms(self) -> Array:
        """Euclidean norms in ascending order ``[N]``, d >= 2."""
        return np.sort(np.sqrt(np.square(self.points, dtype=np.float64).sum(1)))

    def views(self) -> tuple[str, ...]:
        """Scalar views of the tails: both sides in one dimension, else the norm."""
        return ("left_tail", "right_tail") if self.dim == 1 else ("norm",)

    def upper(self, view: str, count: int) -> Array:
        """Return the ``count`` largest values of a view, in descending order, float64."""
        if view == "left_tail":
            return -self.sorted_columns[0, :count].astype(np.float64)
        ordered = self.norms if view == "norm" else self.sorted_columns[0]
        return ordered[::-1][:count].astype(np.float64)

    def tails(self, threshold: float) -> dict[str, Array]:
        """Return the points of both tails.

        One dimension: x < -threshold and x > threshold. Otherwise |x| > threshold, split by
        the sign of the first column.
        """
        first = self.points[:, 0]
        if self.dim == 1:
            left, right = first < -threshold, first > threshold
        else:
            far = np.square(self.points, dtype=np.float64).sum(1) > threshold * threshold
            left, right = far & (first < 0), far & (first >= 0)
        return {"left_tail": self.points[left], "right_tail": self.points[right]}

    def distribution_values(self, distribution: Any) -> tuple[Array, Array]:
        """Return F and 1 - F of the sorted first column, each accurate where it is small."""
        cached = self.__dict__.get("_distribution")
        if cached is None or cached[0] is not distribution:
            x = self.sorted_columns[0].astype(np.float64)
            middle = int(np.searchsorted(x, float(distribution.quantile(0.5))))
            low, high = distribution.cdf(x[:middle]), distribution.sf(x[middle:])
            values = np.concatenate([low, 1 - high]), np.concatenate([1 - low, high])
            cached = self.__dict__["_distribution"] = (distribution, values)
        return cached[1]


class Reference(Sample):
    """Test points ``[N, d]`` with their exact distribution, or None where it is not known."""

    def __init__(self, points: ArrayLike, distribution: Any | None = None) -> None:
        super().__init__(points)
        self.distribution: Any | None = distribution


def options_of(name: str, block: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of one metric: shared options and its own; declared defaults fill in.

    Example:
        >>> options_of("ksd", {"ksd": {"points": 10}})["points"]
        10
    """
    options = METRICS[name].options.model_validate(block.get(name) or {}).model_dump()
    return {**{key: block.get(key, value) for key, value in SHARED.items()}, **options}


def require_finite(points: Array, what: str = "points") -> Array:
    """Return an array, or say how many of its rows hold a value that is not finite.

    Comparisons with such a value are false, so that it would count for or against whatever
    is tested.

    Raises:
        MetricError: a value is infinite or not a number.

    Example:
        >>> require_finite(np.ones((2, 1))).shape
        (2, 1)
    """
    good = np.isfinite(points)
    if not good.all():
        bad = int((~good.reshape(len(good), -1)).any(1).sum())
        raise MetricError(
            f"{what}: {bad} of {len(good)} rows hold values that are infinite or not numbers."
        )
    return points


def pair(
    a: ArrayLike, b: ArrayLike, *, fewest: int = 2, what: str = "samples"
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return two sets of points, ``[N, d]`` and ``[M, d]``, in float64.

    Raises:
        MetricError: shapes that do not fit, fewer than ``fewest`` points, or values that are not
            finite.

    Example:
        >>> pair([[0]], [[1], [2]], fewest=1)[1].shape
        (2, 1)
    """
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1]:
        raise MetricError(
            f"{what} have shapes {first.shape} and {second.shape}: must be [N, d] and [M, d]."
        )
    if min(len(first), len(second)) < fewest:
        raise MetricError(
            f"{what} have {len(first)} and {len(second)} points: at least {fewest} of each are "
            "needed."
        )
    require_finite(first, f"first of the {what}")
    require_finite(second, f"second of the {what}")
    return first, second


def subsample(points: Array, count: int, rng: np.random.Generator) -> Array:
    """Return ``count`` rows drawn without replacement, or all rows where there are fewer."""
    if count >= len(points):
        return rng.permutation(points)
    return points[rng.choice(len(points), count, replace=False)]


def entry(
    name: str, group: str, value: float | None, n: int, protocol: str, **more: Any
) -> dict[str, Any]:
    """Return one entry; a value that is not finite becomes None with a reason.

    Without a value there is no p-value, error or interval either.

    Example:
        >>> entry("ks", "all", 0.5, 10, "exact distribution")["value"]
        0.5
    """
    record: dict[str, Any] = {"name": name, "group": group, "n": int(n), "protocol": protocol}
    numbers = {"value": value, **more}
    for key, number in numbers.items():
        if isinstance(number, float | np.floating):
            numbers[key] = float(number) if math.isfinite(number) else None
    record.update({k: v for k, v in numbers.items() if k == "value" or v is not None})
    if record["value"] is None:
        record = {key: number for key, number in record.items() if key not in OF_A_VALUE}
        record.setdefault("reason", "not a finite number")
    return record


def mean_entry(name: str, group: str, values: Array, protocol: str) -> dict[str, Any]:
    """Return the entry of a mean over points with its standard error."""
    n = len(values)
    bad = int(np.count_nonzero(~np.isfinite(values)))
    if bad:
        reason = f"{bad} of {n} test points have no finite value"
        return entry(name, group, None, n, protocol, reason=reason)
    se = float(values.std(ddof=1) / np.sqrt(n)) if n > 1 else None
    return entry(name, group, float(values.mean()), n, protocol, se=se)
