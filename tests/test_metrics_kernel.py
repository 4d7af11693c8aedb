"""MMD statistics against plain loops, their null distributions against enumeration."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from t3vae import metrics
from t3vae.errors import MetricError
from t3vae.metrics import kernel
from t3vae.metrics.kernel import (
    median_bandwidth,
    mmd_linear,
    mmd_linear_test,
    mmd_unbiased,
    mmd_unbiased_test,
)
from t3vae.metrics.reference import Reference


def t_samples(seed, n, m, d, shift=0.0):
    rng = np.random.default_rng(seed)
    return rng.standard_t(5, (n, d)), rng.standard_t(5, (m, d)) + shift


def slow_linear(a, b):
    n = min(len(a), len(b)) // 2
    rows = []
    for i in range(n):
        pairs = ((a[i], a[n + i]), (b[i], b[n + i]), (a[i], b[n + i]), (a[n + i], b[i]))
        rows.append([sum((u - v) ** 2 for u, v in zip(x, y, strict=True)) for x, y in pairs])
    sigma2 = sorted(itertools.chain(*rows), reverse=True)[2 * n - 1]
    k = [[math.exp(-d / (2 * sigma2)) for d in row] for row in rows]
    return [r[0] + r[1] - r[2] - r[3] for r in k], sigma2


def slow_unbiased(a, b, sigma2):
    def k(x, y):
        return math.exp(-sum((u - v) ** 2 for u, v in zip(x, y, strict=True)) / (2 * sigma2))

    p, q = len(a), len(b)
    aa = sum(k(a[i], a[j]) for i in range(p) for j in range(p) if i != j)
    bb = sum(k(b[i], b[j]) for i in range(q) for j in range(q) if i != j)
    ab = sum(k(x, y) for x in a for y in b)
    return aa / (p * (p - 1)) + bb / (q * (q - 1)) - 2 * ab / (p * q)


@pytest.mark.parametrize(("n", "m", "d"), [(11, 14, 1), (8, 8, 3), (2, 5, 2)])
def test_linear_statistic_is_that_of_the_loop(n, m, d):
    a, b = t_samples(1, n, m, d)
    terms, sigma2 = slow_linear(a, b)
    value, ours = mmd_linear(a, b)
    assert ours == pytest.approx(sigma2, rel=1e-13)
    assert value == pytest.approx(np.mean(terms), rel=1e-12, abs=1e-15)


def test_sign_flips_are_exchanges_of_second_points():
    """Swapping a2_i with b2_i negates h_i and leaves the bandwidth."""
    a, b = t_samples(2, 24, 24, 2)
    terms, sigma2 = slow_linear(a, b)
    for i in (0, 5, 11):
        swapped_a, swapped_b = a.copy(), b.copy()
        swapped_a[12 + i], swapped_b[12 + i] = b[12 + i], a[12 + i]
        other, other_sigma2 = slow_linear(swapped_a, swapped_b)
        assert other_sigma2 == pytest.approx(sigma2, rel=1e-14)
        assert other[i] == pytest.approx(-terms[i], rel=1e-12)
        assert other[:i] + other[i + 1 :] == pytest.approx(terms[:i] + terms[i + 1 :])


@pytest.mark.parametrize("half", [3, 9, 13])
def test_sign_flip_p_value_against_all_signs(half):
    """Half the points: fewer than, just over, and not a multiple of a byte of signs."""
    a, b = t_samples(half, 2 * half, 2 * half, 1, shift=1.0)
    terms = np.array(slow_linear(a, b)[0])
    signs = np.array(list(itertools.product((1, -1), repeat=half)))
    means = signs @ terms / half
    exact = np.mean(means >= terms.mean() - 1e-13)
    result = mmd_linear_test(a, b, permutations=20_000, rng=np.random.default_rng(0))
    assert result.p_value == pytest.approx(exact, abs=4.5 * math.sqrt(exact / 20_000) + 1e-4)
    assert result.null_sd == pytest.approx(math.sqrt((terms**2).sum()) / half, rel=0.03)


@pytest.mark.parametrize("null", ["sign_flip", "permutation"])
def test_linear_test_keeps_its_level_and_has_power(null):
    rng = np.random.default_rng(7)
    p_null, p_shift = [], []
    for _ in range(250):
        a, b = rng.standard_t(5, (2, 60, 1))
        p_null.append(mmd_linear_test(a, b, permutations=99, null=null, rng=rng).p_value)
        p_shift.append(mmd_linear_test(a, b + 2.0, permutations=99, null=null, rng=rng).p_value)
    # p-values are k/100 with k uniform under the null
    assert stats.kstest(np.array(p_null) - 0.005, "uniform").pvalue > 1e-3
    assert np.mean(np.array(p_shift) <= 0.05) > 0.9


def test_both_nulls_have_the_same_spread():
    a, b = t_samples(3, 4000, 4000, 1)
    flips, splits = (
        mmd_linear_test(a, b, permutations=400, null=null, rng=np.random.default_rng(1))
        for null in ("sign_flip", "permutation")
    )
    assert flips.value == splits.value
    assert flips.null_sd == pytest.approx(splits.null_sd, rel=0.15)
    assert flips.p_value == pytest.approx(splits.p_value, abs=0.12)


def test_linear_test_is_a_function_of_its_generator():
    a, b = t_samples(4, 100, 100, 2)
    first, again, other = (
        mmd_linear_test(a, b, permutations=99, rng=np.random.default_rng(s)) for s in (1, 1, 2)
    )
    assert first == again
    assert first.null_sd != other.null_sd


@pytest.mark.parametrize(("p", "q", "d"), [(7, 7, 1), (6, 9, 2), (2, 3, 12)])
def test_unbiased_statistic_is_that_of_the_loop(p, q, d):
    a, b = t_samples(5, p, q, d, shift=0.5)
    assert mmd_unbiased(a, b, 1.7) == pytest.approx(slow_unbiased(a, b, 1.7), rel=1e-11)


@pytest.mark.parametrize(("p", "q", "d"), [(40, 40, 1), (25, 47, 2), (30, 20, 10)])
def test_unbiased_permutations_are_those_of_relabelled_samples(p, q, d, monkeypatch):
    monkeypatch.setattr(kernel, "BLOCK", 16)  # several blocks, the last one not full
    a, b = t_samples(6, p, q, d, shift=0.3)
    sigma2 = 2.5
    result = mmd_unbiased_test(a, b, permutations=50, sigma2=sigma2, rng=np.random.default_rng(9))
    pooled = np.concatenate([a, b])
    labels = np.array([1] * p + [-1] * q, dtype=np.int8)
    flips = np.random.default_rng(9).permuted(np.tile(labels, (50, 1)), axis=1)
    samples = np.array([mmd_unbiased(pooled[s > 0], pooled[s < 0], sigma2) for s in flips])
    value = mmd_unbiased(a, b, sigma2)
    assert result.value == pytest.approx(value, abs=2e-7)
    assert result.null_sd == pytest.approx(samples.std(), rel=1e-4)
    assert result.p_value == (1 + np.sum(samples >= value)) / 51


def test_unbiased_value_far_from_the_origin():
    """Kernels are float32, so the points are counted from their middle."""
    a, b = t_samples(8, 300, 300, 1, shift=0.2)
    result = mmd_unbiased_test(
        a + 1e4, b + 1e4, permutations=19, sigma2=1.0, rng=np.random.default_rng(0)
    )
    assert result.value == pytest.approx(mmd_unbiased(a, b, 1.0), abs=1e-7)


def test_unbiased_is_centred_and_converges_to_its_closed_form():
    """For Gaussians E k has a closed form."""
    sigma2, shift = 1.3, 0.8
    rng = np.random.default_rng(11)
    values = [
        mmd_unbiased(rng.standard_normal((60, 1)), rng.standard_normal((50, 1)) + shift, sigma2)
        for _ in range(400)
    ]
    scale = sigma2 / (sigma2 + 2)
    exact = 2 * math.sqrt(scale) * (1 - math.exp(-(shift**2) / (2 * (sigma2 + 2))))
    assert np.mean(values) == pytest.approx(exact, abs=4 * np.std(values) / 20)


def test_unbiased_test_keeps_its_level_and_beats_the_linear_one():
    """100 t_5 points per sample, shift 0.7: power about 0.98 against 0.27."""
    rng = np.random.default_rng(12)
    null, power, linear = [], [], []
    for _ in range(120):
        a, b = rng.standard_t(5, (2, 100, 1))
        null.append(mmd_unbiased_test(a, b, permutations=99, rng=rng).p_value)
        power.append(mmd_unbiased_test(a, b + 0.7, permutations=99, rng=rng).p_value)
        linear.append(mmd_linear_test(a, b + 0.7, permutations=99, rng=rng).p_value)
    assert stats.kstest(np.array(null) - 0.005, "uniform").pvalue > 1e-3
    assert np.mean(np.array(power) <= 0.05) > 0.9
    assert np.mean(np.array(linear) <= 0.05) < 0.6


def test_bandwidth_does_not_see_labels():
    a, b = t_samples(13, 30, 20, 2, shift=3.0)
    pooled = np.concatenate([a, b])
    pairs = [np.square(x - y).sum() for x, y in itertools.combinations(pooled, 2)]
    for order in (pooled, pooled[::-1]):
        ours = median_bandwidth(order, 50, np.random.default_rng(0))
        assert ours == pytest.approx(np.median(pairs), rel=1e-12)


def test_ties_count_as_exceedances():
    """Two points against two points: 6 relabellings, 2 of them equal to the data."""
    a, b = np.array([[0.0], [0.1]]), np.array([[5.0], [5.1]])
    result = mmd_unbiased_test(a, b, permutations=6000, rng=np.random.default_rng(0), sigma2=1.0)
    assert result.p_value == pytest.approx(1 / 3, abs=0.03)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda r: mmd_linear([[0.0]], [[1.0], [2.0]]), "at least 2"),
        (lambda r: mmd_linear([[0.0, 1.0]] * 4, [[1.0]] * 4), "shapes"),
        (lambda r: mmd_linear([[1.0]] * 4, [[1.0]] * 4), "no bandwidth"),
        (
            lambda r: mmd_linear_test([[0.0], [1.0]], [[2.0], [3.0]], null="x", rng=r),
            "null",
        ),
        (lambda r: mmd_unbiased([[0.0]], [[1.0], [2.0]], 1.0), "at least 2"),
        (lambda r: mmd_unbiased([[0.0], [1.0]], [[1.0], [2.0]], 0.0), "sigma2"),
        (lambda r: mmd_unbiased_test([[1.0]] * 4, [[1.0]] * 4, rng=r), "no bandwidth"),
    ],
)
def test_what_cannot_be_computed_is_an_error(call, message):
    with pytest.raises(MetricError, match=message):
        call(np.random.default_rng(0))


@pytest.mark.parametrize("name", ["mmd_linear", "mmd"])
def test_entries_of_all_and_tails(name):
    rng = np.random.default_rng(14)
    test = rng.standard_t(3, (3000, 1))
    samples = np.abs(rng.standard_t(3, (3000, 1)))  # an empty left tail
    options = {"threshold": 3.0, name: {"points": 400, "permutations": 49}}
    entries = {
        e["group"]: e for e in metrics.evaluate(name, samples, Reference(test), options, rng)
    }
    assert list(entries) == ["all", "left_tail", "right_tail"]
    assert entries["all"]["n"] == 400
    assert entries["all"]["p_value"] == pytest.approx(0.02)
    assert entries["right_tail"]["null_sd"] > 0
    assert "beyond 3" in entries["right_tail"]["protocol"]
    empty = entries["left_tail"]
    assert empty["value"] is None
    assert empty["n"] == 0
    assert "0 generated" in empty["reason"]
    assert "p_value" not in empty
