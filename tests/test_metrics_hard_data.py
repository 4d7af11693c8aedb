"""Metrics of data that are hard on numbers: ties, far from zero, no spread, not finite."""

from __future__ import annotations

import itertools
import math
import warnings
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from t3vae import metrics
from t3vae.datasets.synthetic import UnivariateTMixture
from t3vae.errors import MetricError
from t3vae.metrics import goodness, latent_space
from t3vae.metrics.distances import centred, squared_distances
from t3vae.metrics.features import Features
from t3vae.metrics.frechet import Statistics, frechet_distance_of_points
from t3vae.metrics.goodness import (
    anderson_darling,
    anderson_darling_p_value,
    anderson_darling_two_sample,
    kolmogorov_smirnov,
    kolmogorov_smirnov_two_sample,
)
from t3vae.metrics.hill import hill
from t3vae.metrics.kernel import (
    median_bandwidth,
    mmd_linear,
    mmd_linear_test,
    mmd_unbiased,
    mmd_unbiased_test,
)
from t3vae.metrics.kid import polynomial_mmd
from t3vae.metrics.manifold import neighbour_radii, overlap
from t3vae.metrics.reference import Reference, entry
from t3vae.metrics.stein import ksd_imq_rows
from t3vae.settings.metrics import METRICS

TESTS_OF_SAMPLES = [n for n, m in METRICS.items() if m.data == "numbers" and m.of == "samples"]
OF_FEATURES = [n for n, m in METRICS.items() if m.of == "features"]


def generator(seed=0):
    return np.random.default_rng(seed)


# --- ties --------------------------------------------------------------------------------


def statistic(x, y):
    return anderson_darling_two_sample(x, y, generator(), 1)[0]


@pytest.mark.parametrize("digits", [8, 1, 0])
def test_anderson_darling_with_ties_agrees_with_scipy(digits):
    rng = generator(1)
    x, y = np.round(rng.normal(size=80), digits), np.round(rng.normal(size=120) + 0.4, digits)
    ours = statistic(x, y)
    assert ours == pytest.approx(statistic(y, x), rel=1e-12)
    assert ours == pytest.approx(statistic(-x, -y), rel=1e-12)
    assert ours == pytest.approx(statistic(rng.permutation(x), y), rel=1e-12)
    # SciPy subtracts the mean 1 and divides by the deviation without ties, which two calls give
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = [stats.anderson_ksamp([x, s], variant="midrank").statistic for s in (y, y + 1)]
    deviation = (statistic(x, y + 1) - ours) / (theirs[1] - theirs[0])
    assert (ours - 1) / deviation == pytest.approx(theirs[0], rel=1e-9)


def test_equal_samples_are_equal_whatever_their_ties():
    counted = np.repeat([0.0, 1.0, 2.0, 5.0], [40, 30, 20, 10])
    for x, y in ((counted, counted), (counted, counted[::-1]), (counted, np.tile(counted, 3))):
        value, p, _ = anderson_darling_two_sample(x, y, generator())
        assert value == pytest.approx(0, abs=1e-12) and p == 1.0
        assert kolmogorov_smirnov_two_sample(np.sort(x), np.sort(y)) == (0.0, 1.0)
    constant = np.full(7, 3.0)
    assert anderson_darling_two_sample(constant, constant, generator())[:2] == (0.0, 1.0)


def test_anderson_darling_of_two_values_is_a_chi_square():
    """With two values the statistic is, but for (K - 1)/K, the chi-square of the two shares."""
    x, y = np.repeat([0.0, 1.0], [30, 70]), np.repeat([0.0, 1.0], [80, 40])
    table = np.array([[30, 70], [80, 40]])
    expected = stats.chi2_contingency(table, correction=False).statistic * 219 / 220
    assert statistic(x, y) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    "of",
    [
        lambda x: x,
        np.round,
        lambda x: (x > 0.3).astype(float),
        lambda x: np.maximum(x, 0),
    ],
    ids=["continuous", "integers", "two values", "half at zero"],
)
def test_anderson_darling_keeps_its_level_with_ties(of):
    rng = generator(3)
    p = []
    for _ in range(600):
        x, y = of(rng.normal(size=60)), of(rng.normal(size=70))
        p.append(anderson_darling_two_sample(x, y, rng, 99)[1])
    for level in (0.05, 0.2):
        share = np.mean(np.array(p) <= level)
        assert share <= level + 4 * math.sqrt(level * (1 - level) / len(p))
    far = anderson_darling_two_sample(of(rng.normal(size=60)), of(rng.normal(size=70) + 2), rng, 99)
    assert far[1] <= 0.02


def test_few_ties_keep_the_limit_and_many_do_not():
    rng = generator(4)
    x, y = rng.normal(size=(2, 300)).astype(np.float32)
    value, p, how = anderson_darling_two_sample(x, y, rng)
    assert "limiting" in how and p == anderson_darling_p_value(value)
    x[:60] = y[:60] = 0.0
    assert "exchanges" in anderson_darling_two_sample(x, y, rng)[2]


def test_many_distinct_values_beside_a_large_tie_are_taken_together(monkeypatch):
    rng = generator(5)
    x, y = (np.maximum(rng.normal(size=3000) + shift, 0) for shift in (0, 0.03))
    coarse = anderson_darling_two_sample(x, y, generator(1))
    monkeypatch.setattr(goodness, "GROUPS", 10**9)
    fine = anderson_darling_two_sample(x, y, generator(1))
    assert coarse[0] == fine[0]
    assert coarse[1] == pytest.approx(fine[1], abs=0.05)


def test_permutations_of_tied_points_count_ties_as_exceedances():
    rng = generator(6)
    x = rng.integers(0, 4, (60, 1)).astype(float)
    for test in (
        lambda a, b: mmd_unbiased_test(a, b, permutations=99, rng=rng),
        lambda a, b: mmd_linear_test(a, b, permutations=99, rng=rng),
        lambda a, b: mmd_linear_test(a, b, permutations=99, null="permutation", rng=rng),
    ):
        assert test(x, x.copy()).p_value > 0.4
        assert test(x, rng.permutation(x)).p_value > 0.04
        assert test(x, x + 3).p_value <= 0.02


def test_hill_of_tied_values():
    assert hill([1.0, 2.0, 2.0, 4.0, 4.0], 4) == pytest.approx(1 / (1.5 * math.log(2)))
    with pytest.raises(MetricError, match="all equal"):
        hill([1.0, 2.0, 2.0, 2.0], 2)


@pytest.mark.parametrize("d", [2, 12])
def test_balls_of_repeated_points_are_the_points(d):
    """Six copies of each point: the fifth neighbour is at distance 0, also by products."""
    rng = generator(7)
    points = rng.normal(size=(20, d)) + 1e3
    real = np.repeat(points, 6, axis=0)
    assert (neighbour_radii(real, 5) == 0).all()
    assert overlap(real, real, 5) == (1.0, 1.0, 6 / 5, 1.0)
    half = np.concatenate([real[:60], real[:60] + 1e-3])
    assert overlap(real, half, 5) == (0.5, 0.5, 6 / 5 / 2, 0.5)


@pytest.mark.parametrize("d", [3, 40])
def test_equal_distances_lie_in_a_ball_whatever_rounding_says(d):
    """A real set as generated one: each ball holds its centre and k neighbours, however far."""
    rng = generator(8)
    x = rng.normal(size=(150, d))
    for real in (x, x + 1e5, x * 1e-5, np.round(x, 1) if d == 40 else x):
        other = overlap(real, real[rng.permutation(150)], 4)
        assert other == (1.0, 1.0, 5 / 4, 1.0)


# --- far from zero, small, of different scale ----------------------------------------------


MOVES = {
    "plain": lambda x: x,
    "far": lambda x: x + 1e6,
    "very far": lambda x: x + 1e9,
    "small": lambda x: 1e-6 * x,
    "small and far": lambda x: 1e6 + 1e-3 * x,
    "tiny": lambda x: 1e-60 * x,
    "large": lambda x: 1e60 * x,
    "float32": lambda x: (x + 1e4).astype(np.float32),
    "two clusters": lambda x: x + 1e7 * (np.arange(len(x)) % 2)[:, None],
    "scales": lambda x: x * np.logspace(-6, 6, x.shape[1]),
}


def pair(name, d, n=40, m=50):
    rng = generator(9)
    return [MOVES[name](rng.standard_t(5, (k, d)) * (1 + 0.2 * i)) for i, k in enumerate((n, m))]


def differences(x, y):
    x, y = x.astype(np.longdouble), y.astype(np.longdouble)
    return np.array([np.square(y - row).sum(1) for row in x])


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("d", [1, 8, 9, 31])
def test_distances_are_those_of_differences(move, d):
    x, y = centred(*pair(move, d))
    exact = differences(*pair(move, d)).astype(float)
    np.testing.assert_allclose(squared_distances(x, y), exact, rtol=1e-6)
    assert (np.diag(squared_distances(x, x)) == 0).all()


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("d", [1, 9, 31])
def test_mmd_is_that_of_exact_differences(move, d):
    x, y = pair(move, d)
    both = np.concatenate([x, y])
    gaps = differences(both, both)
    # the bandwidth within a cluster, so that its points tell
    sigma2 = float(np.quantile(gaps[np.triu_indices(len(both), 1)], 0.3))
    kernel = np.exp(-gaps / (2 * np.longdouble(sigma2)))
    n, m = len(x), len(y)
    within = (kernel[:n, :n].sum() - n) / (n * (n - 1)) + (kernel[n:, n:].sum() - m) / (m * (m - 1))
    exact = float(within - 2 * kernel[:n, n:].mean())
    assert mmd_unbiased(x, y, sigma2) == pytest.approx(exact, rel=1e-6, abs=1e-9)
    test = mmd_unbiased_test(x, y, permutations=19, sigma2=sigma2, rng=generator())
    assert test.value == pytest.approx(exact, abs=1e-6)
    median = float(np.median(gaps[np.triu_indices(len(both), 1)]))
    assert median_bandwidth(both, 1000, generator()) == pytest.approx(median, rel=1e-6)


def test_moving_both_samples_changes_no_test():
    x, y = pair("plain", 20)
    plain = mmd_unbiased_test(x, y, permutations=99, rng=generator())
    moved = mmd_unbiased_test(x + 1e6, y + 1e6, permutations=99, rng=generator())
    assert moved.p_value == plain.p_value
    assert moved.value == pytest.approx(plain.value, abs=1e-7)
    lines = [mmd_linear(x + shift, y + shift) for shift in (0, 1e6)]
    assert lines[1] == pytest.approx(lines[0], rel=1e-6)


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("d", [2, 20])
def test_balls_are_those_of_exact_differences(move, d):
    x, y = pair(move, d, 60, 70)
    k = 4
    radii = [np.sort(differences(s, s), axis=1)[:, k] for s in (x, y)]
    gaps = differences(y, x)
    inside = gaps <= radii[0]
    expected = (
        inside.any(1).mean(),
        (gaps <= radii[1][:, None]).any(0).mean(),
        inside.sum() / (k * len(y)),
        inside.any(0).mean(),
    )
    assert overlap(x, y, k, block=17) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("move", [name for name in MOVES if name not in ("tiny", "large")])
def test_kernel_distance_of_features_is_exact(move):
    """Against rational numbers: the cubic kernel, which is not the same everywhere."""
    x, y = pair(move, 4, 6, 7)
    a, b = ([[Fraction(float(v)) for v in row] for row in s] for s in (x, y))

    def kernel(u, v):
        return (sum(p * q for p, q in zip(u, v, strict=True)) / len(u) + 1) ** 3

    def mean(pairs):
        values = [kernel(u, v) for u, v in pairs]
        return sum(values) / len(values)

    exact = mean(itertools.permutations(a, 2)) + mean(itertools.permutations(b, 2))
    exact -= 2 * mean(itertools.product(a, b))
    assert polynomial_mmd(x, y) == pytest.approx(float(exact), rel=1e-9)


@pytest.mark.parametrize("move", MOVES)
def test_frechet_distance_is_that_of_one_column(move):
    """(m1 - m2)^2 + (s1 - s2)^2, in extended precision."""
    x, y = pair(move, 1)
    a, b = (s[:, 0].astype(np.longdouble) for s in (x, y))
    exact = float((a.mean() - b.mean()) ** 2 + (a.std(ddof=1) - b.std(ddof=1)) ** 2)
    assert frechet_distance_of_points(x, y) == pytest.approx(exact, rel=1e-9)
    blocks = Statistics.of(x, block=7).distance(Statistics.of(y))
    assert blocks == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize("shift", [1e6, 2.0**40])
def test_frechet_distance_of_moved_sets(shift):
    x, y = (np.round(s * 1024) / 1024 for s in pair("plain", 6))  # which a shift keeps exactly
    plain = frechet_distance_of_points(x, y)
    moved = x + shift, y + shift
    assert frechet_distance_of_points(*moved) == pytest.approx(plain, rel=1e-12)
    blocks = Statistics.of(moved[0], block=7).distance(Statistics.of(moved[1]))
    assert blocks == pytest.approx(plain, rel=1e-9)


def test_stein_discrepancy_depends_on_differences_alone():
    rng = generator(10)
    x = np.round(rng.standard_t(5, (50, 3)), 6)
    score = -(8) * x / (5 + np.square(x).sum(1, keepdims=True))
    plain = ksd_imq_rows(x, score).mean()
    for shift in (1e6, 2.0**40):
        moved = x + shift
        kept = (moved - shift).astype(float)
        there, here = (ksd_imq_rows(points, score).mean() for points in (moved, kept))
        assert there == pytest.approx(here, rel=1e-12)
    assert ksd_imq_rows(x + 1e6, score).mean() == pytest.approx(plain, rel=1e-7)


# --- not finite, no spread, few rows -------------------------------------------------------


def test_nothing_that_is_not_finite_is_significant():
    x = generator(11).normal(size=(200, 1))
    bad = x.copy()
    bad[3] = math.nan
    flat, broken = np.sort(x[:, 0]), np.sort(bad[:, 0])
    rng = generator()
    for call in (
        lambda: mmd_linear(bad, x),
        lambda: mmd_linear_test(x, bad, rng=rng),
        lambda: mmd_unbiased(bad, x, 1.0),
        lambda: mmd_unbiased_test(x, bad, rng=rng),
        lambda: mmd_unbiased_test(bad, x, rng=rng, sigma2=1.0),
        lambda: median_bandwidth(bad, 100, rng),
        lambda: kolmogorov_smirnov(broken),
        lambda: kolmogorov_smirnov_two_sample(flat, broken),
        lambda: anderson_darling(broken, 1 - broken),
        lambda: anderson_darling_two_sample(broken, flat, rng),
        lambda: anderson_darling_p_value(math.nan),
        lambda: hill(bad, 5),
        lambda: ksd_imq_rows(bad, -x).mean(),
        lambda: ksd_imq_rows(x, -bad).mean(),
        lambda: overlap(x, bad),
        lambda: overlap(bad, x),
        lambda: neighbour_radii(bad, 2),
        lambda: polynomial_mmd(bad, x),
        lambda: frechet_distance_of_points(bad, x),
        lambda: Statistics.of(bad),
        lambda: latent_space.active_units(bad, [1.0]),
        lambda: latent_space.active_units(x, [math.nan]),
    ):
        with pytest.raises(MetricError, match=r"not numbers|not a number"):
            call()


def test_entry_without_a_value_has_nothing_that_belongs_to_one():
    found = entry("ks", "all", math.nan, 9, "made up", p_value=0.001, se=0.1, ci_low=0.0, flag="f")
    assert found["value"] is None and found["reason"] == "not a finite number"
    assert found["flag"] == "f" and not {"p_value", "se", "ci_low"} & set(found)
    known = entry("ks", "all", 0.2, 9, "made up", p_value=math.nan, ci_high=math.inf)
    assert known["value"] == 0.2 and not {"p_value", "ci_high", "reason"} & set(known)


@pytest.mark.parametrize("rows", [(1, 1), (1, 40), (2, 3), (40, 1), (40, 40)])
@pytest.mark.parametrize("d", [1, 2, 9, 31])
def test_every_metric_has_a_value_or_a_reason(rows, d):
    rng = generator(12)
    n, m = rows
    options = {
        "threshold": 2.0,
        "mmd": {"points": 30, "permutations": 19, "bandwidth_points": 20},
        "mmd_linear": {"points": 30, "permutations": 19},
        "ksd": {"points": 30},
        "hill": {"fraction": 0.2, "steps": 2},
        "kid": {"subset_size": 10, "subsets": 2},
    }
    makers = {
        "plain": lambda x: x,
        "constant": lambda x: np.full_like(x, 2.5),
        "zero": np.zeros_like,
        "one column constant": lambda x: np.where(np.arange(d) == 0, 1.0, x),
        "scales": lambda x: x * np.logspace(-8, 8, d),
        "rounded": np.round,
        "half": lambda x: x.astype(np.float16),
        "negative": lambda x: -np.abs(x) - 5,
    }
    for first, second in itertools.product(makers, ("plain", "constant", "zero")):
        x = makers[first](rng.standard_t(5, (n, d)))
        y = makers[second](rng.standard_t(5, (m, d)))
        known = UnivariateTMixture() if d == 1 else None
        for name, distribution in itertools.product(TESTS_OF_SAMPLES, {None, known}):
            found = metrics.evaluate(name, x, Reference(y, distribution), options, rng)
            check(found, (name, first, second))
        halves = [{"class:0": np.arange(0, k, 2), "class:1": np.arange(1, k, 2)} for k in rows]
        sample = Features(x, "made up", groups=halves[0], predicted=np.arange(n) % 2)
        for name in OF_FEATURES:
            reference = Features(y, "made up", groups=halves[1])
            check(metrics.evaluate(name, sample, reference, options, rng), (name, first, second))


def check(entries, what):
    assert entries, what
    for found in entries:
        for key, value in found.items():
            assert not isinstance(value, float) or math.isfinite(value), (what, key)
        assert 0 <= found.get("p_value", 0) <= 1
        if found["value"] is None:
            assert found["reason"], what
            assert not {"p_value", "null_sd", "se", "ci_low", "ci_high"} & set(found), what
