"""Maximum mean discrepancy (MMD) with Gaussian kernels, linear-time and unbiased quadratic.

    MMD^2(P, Q) = E k(X, X') + E k(Y, Y') - 2 E k(X, Y),   k(x, y) = exp(-|x - y|^2 / (2 s^2)).

Both statistics are unbiased (Gretton et al., JMLR 13, 2012). Their null distributions come from
exchanges of points between the samples; p = (1 + #{T_b >= T}) / (1 + B).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from t3vae.errors import MetricError
from t3vae.metrics.distances import centred, squared_distances
from t3vae.metrics.reference import pair, require_finite, subsample

__all__ = [
    "MMDResult",
    "median_bandwidth",
    "mmd_linear",
    "mmd_linear_test",
    "mmd_unbiased",
    "mmd_unbiased_test",
]

Array = NDArray[np.floating[Any]]
Generator = np.random.Generator

BLOCK = 1024
FLOAT32_REACH = 1e3  # bandwidths from the middle, beyond which kernels need float64


class MMDResult(NamedTuple):
    """A statistic, its p-value, the standard deviation of its null distribution, and its kernel."""

    value: float
    p_value: float
    null_sd: float
    sigma2: float
    n: int  # points of each sample that entered


# --- linear time ---------------------------------------------------------------------------


def mmd_linear(a: ArrayLike, b: ArrayLike) -> tuple[float, float]:
    """Return the linear-time MMD^2 of two samples and its squared bandwidth.

    Both samples are cut to 2n rows and halved; with d1 = |a1 - a2|^2, d2 = |b1 - b2|^2,
    d3 = |a1 - b2|^2, d4 = |a2 - b1|^2 (by row), the squared bandwidth is the upper median
    of the 4n values and the statistic is mean(k1 + k2 - k3 - k4).

    Args:
        a: points ``[N, d]``.
        b: points ``[M, d]``.

    Raises:
        MetricError: fewer than two rows, different columns, values that are not finite, or a
            bandwidth of zero.

    Example:
        >>> value, sigma2 = mmd_linear([[0.0], [1.0]], [[3.0], [5.0]])
        >>> round(value, 6), sigma2
        (0.83856, 4.0)
    """
    terms, sigma2 = _linear_terms(*_paired(a, b))
    return float(terms.mean()), sigma2


def mmd_linear_test(
    a: ArrayLike,
    b: ArrayLike,
    *,
    permutations: int = 999,
    null: str = "sign_flip",
    rng: Generator,
) -> MMDResult:
    """Test equality of two distributions with the linear-time MMD^2, bandwidth frozen.

    Null ``sign_flip``: exchanging the second points of row i between the samples turns
    its term h_i = k1 + k2 - k3 - k4 into -h_i and leaves the bandwidth as it is, so that
    independent signs are an exact subgroup of all exchanges. Null ``permutation``: uniform
    equal splits of the 4n pooled points.

    Args:
        a: points ``[N, d]``.
        b: points ``[M, d]``.
        permutations: number B of samples from the null.
        null: ``sign_flip`` or ``permutation``.
        rng: generator of the null.

    Raises:
        MetricError: as :func:`mmd_linear`, or an unknown null.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> x, y = rng.standard_normal((2, 400, 1))
        >>> mmd_linear_test(x, y + 2, rng=rng).p_value
        0.001
    """
    if null not in ("sign_flip", "permutation"):
        raise MetricError(f"null = {null!r}: must be sign_flip or permutation.")
    a, b = _paired(a, b)
    terms, sigma2 = _linear_terms(a, b)
    value = float(terms.mean())
    if null == "sign_flip":
        nulls = _sign_flips(terms, permutations, rng)
    else:
        nulls = _splits(np.concatenate([a, b]), sigma2, permutations, rng)
    tolerance = 1e-12 * float(np.abs(terms).mean())  # equal sums added in another order
    return MMDResult(value, _p_value(nulls, value, tolerance), float(nulls.std()), sigma2, len(a))


def _paired(a: ArrayLike, b: ArrayLike) -> tuple[Array, Array]:
    first, second = pair(a, b)
    even = min(len(first), len(second)) // 2 * 2
    return first[:even], second[:even]


def _linear_terms(a: Array, b: Array) -> tuple[Array, float]:
    """Return h ``[n]`` and the squared bandwidth."""
    n = len(a) // 2
    distances = _row_distances(a[:n], a[n:], b[:n], b[n:])
    sigma2 = float(np.partition(distances.ravel(), 2 * n)[2 * n])  # upper median of 4n values
    return _signed_kernels(distances, _bandwidth(sigma2)), sigma2


def _signed_kernels(distances: Array, sigma2: float) -> Array:
    k = np.exp(distances * (-0.5 / sigma2))
    terms: Array = k[0] + k[1] - k[2] - k[3]
    return terms


def _row_distances(a1: Array, a2: Array, b1: Array, b2: Array) -> Array:
    pairs = ((a1, a2), (b1, b2), (a1, b2), (a2, b1))
    with np.errstate(over="ignore"):  # the kernel of an infinite distance is 0
        if a1.shape[1] == 1:
            return np.stack([np.square(x[:, 0] - y[:, 0]) for x, y in pairs])
        return np.stack([np.square(x - y).sum(1) for x, y in pairs])


def _sign_flips(terms: Array, count: int, rng: Generator) -> Array:
    """Return ``count`` means of the terms with independent random signs.

    Eight signs are one random byte, and their partial sum is looked up.
    """
    groups = -(-len(terms) // 8)
    padded = np.zeros(8 * groups)
    padded[: len(terms)] = terms
    bits = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)
    table = (padded.reshape(groups, 8) @ (1.0 - 2.0 * bits).T).ravel()
    offsets = 256 * np.arange(groups)
    sums = np.empty(count)
    for start in range(0, count, 32):
        block = slice(start, min(start + 32, count))
        signs = rng.integers(0, 256, (block.stop - start, groups), dtype=np.uint8)
        sums[block] = table[signs + offsets].sum(1)
    return sums / len(terms)


def _splits(pooled: Array, sigma2: float, count: int, rng: Generator) -> Array:
    """Return ``count`` statistics of uniform equal splits of the pooled points."""
    values = np.empty(count)
    shuffled = pooled.copy()
    for index in range(count):
        # a flat shuffle of one column is several times faster than one of rows
        rng.shuffle(shuffled[:, 0] if shuffled.shape[1] == 1 else shuffled)
        quarters = np.split(shuffled, 4)
        values[index] = _signed_kernels(_row_distances(*quarters), sigma2).mean()
    return values


# --- quadratic time ------------------------------------------------------------------------


def median_bandwidth(pooled: ArrayLike, points: int, rng: Generator) -> float:
    """Return the median squared distance among ``points`` rows of the pooled sample.

    The rows are drawn without looking at which sample they belong to.

    Args:
        pooled: points of both samples ``[N, d]``.
        points: size of the subsample.
        rng: generator of the subsample.

    Raises:
        MetricError: values that are not finite, or more than half of the distances are zero.
    """
    whole = require_finite(np.asarray(pooled, dtype=np.float64), "pooled points")
    (chosen,) = centred(subsample(whole, points, rng))
    distances = squared_distances(chosen, chosen)[np.triu_indices(len(chosen), 1)]
    return _bandwidth(float(np.median(distances)) if len(distances) else 0.0)


def _bandwidth(sigma2: float) -> float:
    if sigma2 == 0:
        raise MetricError("more than half of the distances are zero: the kernel has no bandwidth.")
    if not 0 < sigma2 < np.inf:
        raise MetricError("the distances are too large for a number: the kernel has no bandwidth.")
    return sigma2


def mmd_unbiased(a: ArrayLike, b: ArrayLike, sigma2: float) -> float:
    """Return the unbiased quadratic-time MMD^2, in float64 and in blocks.

    sum_{i != j} k(a_i, a_j) / (p (p-1)) + sum_{i != j} k(b_i, b_j) / (q (q-1))
    - 2 sum_ij k(a_i, b_j) / (p q).

    Args:
        a: points ``[p, d]``, p >= 2.
        b: points ``[q, d]``, q >= 2.
        sigma2: squared bandwidth.

    Raises:
        MetricError: too few points, values that are not finite, or a bandwidth that is not
            positive.

    Example:
        >>> round(mmd_unbiased([[0.0], [1.0]], [[3.0], [5.0]], 2.0), 6)
        0.899918
    """
    first, second = centred(*_checked(a, b, sigma2))
    p, q = len(first), len(second)
    within_a = _kernel_sum(first, first, sigma2) - p
    within_b = _kernel_sum(second, second, sigma2) - q
    between = _kernel_sum(first, second, sigma2)
    return within_a / (p * (p - 1)) + within_b / (q * (q - 1)) - 2 * between / (p * q)


def mmd_unbiased_test(
    a: ArrayLike,
    b: ArrayLike,
    *,
    permutations: int = 999,
    rng: Generator,
    sigma2: float | None = None,
    bandwidth_points: int = 1000,
) -> MMDResult:
    """Test equality of two distributions with the unbiased MMD^2 and uniform permutations.

    With labels s in {-1, 1}^N, kernel matrix K, T = 1'K1, all three sums of the statistic
    follow from s'Ks and s'K1, so that one pass over K in blocks serves all
    permutations as matrix products. Kernels are float32, sums float64.

    Args:
        a: points ``[p, d]``, p >= 2.
        b: points ``[q, d]``, q >= 2.
        permutations: number B of uniform relabellings.
        rng: generator of bandwidth subsample and permutations.
        sigma2: squared bandwidth; None takes :func:`median_bandwidth` of the pooled points.
        bandwidth_points: size of its subsample.

    Raises:
        MetricError: too few points, values that are not finite, or no bandwidth.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> x, y = rng.standard_normal((2, 100, 1))
        >>> mmd_unbiased_test(x, y + 1, permutations=99, rng=rng).p_value
        0.01
    """
    first, second = _checked(a, b, 1.0 if sigma2 is None else sigma2)
    pooled = np.concatenate([first, second])
    if sigma2 is None:
        sigma2 = median_bandwidth(pooled, bandwidth_points, rng)
    points, sigma2_of_points = _reduced(pooled, sigma2)
    p, q = len(first), len(second)
    labels = np.ones((permutations + 1, p + q), dtype=np.int8)
    labels[:, p:] = -1
    labels[1:] = rng.permuted(labels[1:], axis=1)
    row_sums, quadratic = _label_forms(points, labels, sigma2_of_points)
    total = row_sums.sum()
    linear = np.array([row_sums[row > 0].sum() - row_sums[row < 0].sum() for row in labels])
    within_a = (total + 2 * linear + quadratic) / 4 - p
    within_b = (total - 2 * linear + quadratic) / 4 - q
    between = (total - quadratic) / 4
    values = within_a / (p * (p - 1)) + within_b / (q * (q - 1)) - 2 * between / (p * q)
    value, nulls = float(values[0]), values[1:]
    p_value = _p_value(nulls, value, 1e-6 / (p + q))
    return MMDResult(value, p_value, float(nulls.std()), sigma2, min(p, q))


def _label_forms(points: Array, labels: NDArray[np.int8], sigma2: float) -> tuple[Array, Array]:
    """Return K1 ``[N]`` and s'Ks of each row s of ``labels``, one kernel block at a time."""
    n = len(points)
    row_sums, quadratic = np.zeros(n), np.zeros(len(labels))
    for rows in _blocks(n):
        row_labels = labels[:, rows].astype(np.float32)
        for columns in _blocks(n, rows.start):
            kernel = squared_distances(points[rows], points[columns]).astype(np.float32, copy=False)
            kernel *= np.float32(-0.5 / sigma2)
            np.exp(kernel, out=kernel)
            row_sums[rows] += kernel.sum(1, dtype=np.float64)
            product = row_labels @ kernel
            if columns.start == rows.start:
                product *= row_labels
                quadratic += product.sum(1, dtype=np.float64)
            else:  # the block stands for its mirror image too
                row_sums[columns] += kernel.sum(0, dtype=np.float64)
                product *= labels[:, columns]
                quadratic += 2 * product.sum(1, dtype=np.float64)
    return row_sums, quadratic


def _reduced(pooled: Array, sigma2: float) -> tuple[Array, float]:
    """Return the points as float32 and the squared bandwidth in their unit.

    Rounding grows with the distance from zero, so they are counted from the middle, and stay
    float64 where some lie very far out. The unit is a power of two, which rounds nothing, and
    near the bandwidth, so that no square leaves the range of float32.
    """
    unit = 2.0 ** np.round(0.5 * np.log2(sigma2))
    points = (pooled - np.median(pooled, axis=0)) / unit
    few = np.abs(points).max() < FLOAT32_REACH
    return (points.astype(np.float32) if few else points), sigma2 / unit**2


def _checked(a: ArrayLike, b: ArrayLike, sigma2: float) -> tuple[Array, Array]:
    if not 0 < sigma2 < np.inf:
        raise MetricError(f"sigma2 = {sigma2!r}: must be a finite number greater than 0.")
    return pair(a, b)


def _blocks(n: int, start: int = 0) -> Iterator[slice]:
    for begin in range(start, n, BLOCK):
        yield slice(begin, min(begin + BLOCK, n))


def _kernel_sum(x: Array, y: Array, sigma2: float) -> float:
    return sum(
        float(np.exp(squared_distances(x[rows], y[columns]) * (-0.5 / sigma2)).sum())
        for rows in _blocks(len(x))
        for columns in _blocks(len(y))
    )


def _p_value(nulls: Array, value: float, tolerance: float) -> float:
    return (1 + int(np.count_nonzero(nulls >= value - tolerance))) / (1 + len(nulls))
