"""Frechet distance and KID beside torch-fidelity, and both beside exact arithmetic.

torch-fidelity (its release 0.4) takes the eigenvalues of S1 S2 in float64. Where that product
is singular or ill-conditioned, zeros come out as some 1e-16 of the largest eigenvalue, of
which a root of 1e-8 remains: it is good to about 1e-7 there, which is checked too. The exact
values come from mpmath with 60 digits.
"""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import torch
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric

from t3vae import metrics
from t3vae.metrics import frechet, kid
from t3vae.metrics.features import Features

D = 24


def theirs(a: np.ndarray, b: np.ndarray) -> float:
    first, second = (fid_features_to_statistics(torch.from_numpy(x)) for x in (a, b))
    return fid_statistics_to_metric(first, second, verbose=False)["frechet_inception_distance"]


def ours(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    streamed = frechet.Statistics.of(a, block=31).distance(frechet.Statistics.of(b, block=64))
    return streamed, frechet.frechet_distance_of_points(a, b)


def exact(a: np.ndarray, b: np.ndarray) -> float:
    """The distance with 60 digits, from singular values or from the root of one covariance."""
    with mpmath.workdps(60):
        means, centred = [], []
        for points in (a, b):
            n, d = points.shape
            table = mpmath.matrix(points.tolist())
            mean = [mpmath.fsum(table[i, j] for i in range(n)) / n for j in range(d)]
            for i in range(n):
                for j in range(d):
                    table[i, j] = (table[i, j] - mean[j]) / mpmath.sqrt(n - 1)
            means.append(mean)
            centred.append(table)
        first, second = centred
        if min(first.rows, second.rows) <= a.shape[1]:
            gram = first * second.T if first.rows <= second.rows else second * first.T
            square = gram * gram.T
        else:
            values, vectors = mpmath.eigsy(first.T * first)
            root = vectors * mpmath.diag([mpmath.sqrt(max(v, 0)) for v in values])
            square = root.T * (second.T * second) * root
        values = mpmath.eigsy(square, eigvals_only=True)
        traces = mpmath.fsum(v * v for table in centred for v in table)
        gap = mpmath.fsum((x - y) ** 2 for x, y in zip(*means, strict=True))
        return float(gap + traces - 2 * mpmath.fsum(mpmath.sqrt(max(v, 0)) for v in values))


def mixture(seed: int, d: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(d, d)) / np.sqrt(d)


def normal(seed: int, n: int, d: int = D, shift: float = 0.0, scale: float = 1.0) -> np.ndarray:
    samples = np.random.default_rng(seed).normal(size=(n, d))
    return shift + scale * samples @ mixture(99, d)


def constant(points: np.ndarray, value: float) -> np.ndarray:
    return np.where(np.arange(points.shape[1]) % 4 == 0, value, points)


def decaying(points: np.ndarray, decades: float, backwards: bool = False) -> np.ndarray:
    """Scales of the columns fall over decades, then the columns are rotated."""
    scales = 10.0 ** -np.linspace(0, decades, points.shape[1])
    rotation = np.linalg.qr(mixture(5, points.shape[1]))[0]
    return points * (scales[::-1] if backwards else scales) @ rotation


SPREAD = np.random.default_rng(7).normal(size=(D - 6, D))
OTHER = np.random.default_rng(8).normal(size=(D - 6, D))

CASES = {
    "full rank": (normal(0, 80), normal(1, 90, shift=0.3, scale=1.2)),
    "close": (normal(0, 80), normal(1, 80)),
    "both with few points": (normal(0, 9), normal(1, 13, shift=0.3)),
    "one with few points": (normal(0, 9), normal(1, 80, scale=1.2)),
    "as many points as features": (normal(0, D), normal(1, D, shift=0.1)),
    "constant columns": (constant(normal(0, 80), 0.7), constant(normal(1, 80, scale=1.3), 0.7)),
    "constants that differ": (constant(normal(0, 80), 0.7), constant(normal(1, 80), 0.9)),
    "same subspace": (normal(0, 80, D - 6) @ SPREAD, normal(1, 80, D - 6, scale=1.2) @ SPREAD),
    "other subspace": (normal(0, 80, D - 6) @ SPREAD, normal(1, 80, D - 6) @ OTHER),
    **{
        f"condition 1e{2 * k}": (
            decaying(normal(0, 80), k),
            decaying(normal(1, 80, scale=1.3), k),
        )
        for k in (3, 4, 5, 6)
    },
    "opposed, condition 1e12": (
        decaying(normal(0, 80), 6),
        decaying(normal(1, 80, scale=1.3), 6, backwards=True),
    ),
    "large mean": (1e3 + normal(0, 80), 1e3 + normal(1, 90, shift=0.3, scale=1.2)),
}


@pytest.mark.parametrize("name", CASES)
def test_frechet_distance_agrees_with_torch_fidelity(name):
    a, b = CASES[name]
    expected = theirs(a, b)
    streamed, of_points = ours(a, b)
    assert streamed == pytest.approx(expected, rel=1e-6)
    assert of_points == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_frechet_distance_agrees_with_exact_arithmetic(name):
    a, b = CASES[name]
    expected = exact(a, b)
    streamed, of_points = ours(a, b)
    assert streamed == pytest.approx(expected, rel=1e-10)
    assert of_points == pytest.approx(expected, rel=1e-10)
    assert theirs(a, b) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("n", [9, 80])
def test_equal_sets_have_distance_zero(n):
    """Nothing relative can be asked of zero: it is small beside the traces, theirs to 1e-6."""
    a = normal(0, n)
    trace = a.var(0, ddof=1).sum()
    for value in ours(a, a):
        assert abs(value) < 1e-13 * trace
    assert abs(theirs(a, a)) < 1e-6 * trace


def test_equal_covariances_leave_the_distance_of_the_means():
    a = decaying(normal(0, 80), 4)
    for value in ours(a, a + 0.25):
        assert value == pytest.approx(D * 0.25**2, rel=1e-10)


@pytest.mark.parametrize("n", [20, 60])
def test_few_rows_of_2048_features(n):
    """As many features as Inception-v3 has; exact values are those of a small matrix."""
    rng = np.random.default_rng(n)
    a, b = rng.normal(size=(n, 2048)), 0.05 + 1.1 * rng.normal(size=(n + 5, 2048))
    streamed, of_points = ours(a, b)
    if n == 20:
        assert of_points == pytest.approx(exact(a, b), rel=1e-12)
    assert streamed == pytest.approx(of_points, rel=1e-10)
    assert of_points == pytest.approx(theirs(a, b), rel=1e-6)


@pytest.mark.parametrize("name", ["fid", "frechet_distance_classifier"])
@pytest.mark.parametrize("count", [10, D, D + 1, 80])
def test_entries_of_both_names_agree_with_torch_fidelity(name, count):
    """Whichever way is taken inside: few images, as many as features, more."""
    groups = {"tail": np.arange(count)}
    reference = Features(normal(0, 80), "made up", groups=groups)
    sample = Features(normal(1, 90, shift=0.3), "made up", groups=groups)
    found = metrics.evaluate(name, sample, reference, {}, np.random.default_rng(0))
    for item in found:
        pair = reference.rows(item["group"]), sample.rows(item["group"])
        assert item["value"] == pytest.approx(theirs(*pair), rel=1e-6)
        assert item["n"] == len(pair[1]) and item["name"] == name
        assert ("flag" in item) == (min(map(len, pair)) < 2 * D)


def test_kid_agrees_with_torch_fidelity():
    """One subset that is the whole set, since the samples of subsets differ."""
    a, b = normal(0, 70), normal(1, 70, shift=0.3)
    found = kid_features_to_metric(
        torch.from_numpy(a),
        torch.from_numpy(b),
        kid_subsets=1,
        kid_subset_size=len(a),
        verbose=False,
    )
    expected = found["kernel_inception_distance_mean"]
    assert kid.polynomial_mmd(a, b) == pytest.approx(expected, rel=1e-10)


def test_kid_of_subsets_has_the_mean_of_torch_fidelity():
    """Means over many subsets of the same sets: equal within the spread of such means."""
    a, b = normal(0, 400), normal(1, 400, shift=0.3)
    values, _ = kid.subset_estimates(a, b, 100, 200, np.random.default_rng(0))
    found = kid_features_to_metric(
        torch.from_numpy(a), torch.from_numpy(b), kid_subsets=200, kid_subset_size=100,
        verbose=False,
    )  # fmt: skip
    spread = values.std() / np.sqrt(200)
    assert values.mean() == pytest.approx(
        found["kernel_inception_distance_mean"], abs=5 * np.sqrt(2) * spread
    )
