"""Tails and likelihood against SciPy, Pareto distributions, and models with known answers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from t3vae import metrics
from t3vae.datasets.bivariate import BivariateTMixture
from t3vae.datasets.synthetic import UnivariateTMixture
from t3vae.errors import MetricError
from t3vae.metrics.hill import hill, hill_interval, path_ks
from t3vae.metrics.likelihood import effective_sample_size, log_mean_weights
from t3vae.metrics.reference import (
    Reference,
    Sample,
    entry,
    options_of,
    subsample,
)
from t3vae.metrics.tail import clopper_pearson, ratio_interval

DISTRIBUTION = UnivariateTMixture()


def entries_of(name, samples, reference, options=None):
    return metrics.evaluate(name, samples, reference, options or {}, np.random.default_rng(0))


def by_group(entries):
    return {entry["group"]: entry for entry in entries}


class Spread:
    """Points at the quantiles (i - 1/2)/N: as close to the distribution as N points can be."""

    points = DISTRIBUTION.quantile((np.arange(200_000) + 0.5) / 200_000)[:, None]


# --- masses --------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "n"), [(0, 10), (3, 40), (40, 40), (1106, 500_000)])
def test_clopper_pearson_agrees_with_scipy(count, n):
    expected = stats.binomtest(count, n).proportion_ci(0.9, method="exact")
    assert clopper_pearson(count, n, 0.9) == pytest.approx((expected.low, expected.high), rel=1e-9)


def test_ratio_interval_covers():
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(400):
        count, other = rng.binomial(4000, 0.01), rng.binomial(9000, 0.004)
        low, high = ratio_interval(count, 4000, other, 9000, 0.9)
        hits += low <= 2.5 <= high
    assert 0.88 <= hits / 400 <= 0.99
    assert ratio_interval(5, 100, 0, 100)[1] == math.inf
    assert ratio_interval(0, 100, 5, 100)[0] == 0


def test_tail_mass_ratio_against_the_exact_distribution():
    reference = Reference(DISTRIBUTION.sample(1000, np.random.default_rng(2)), DISTRIBUTION)
    found = by_group(entries_of("tail_mass_ratio", Spread.points, reference))
    for group in ("left_tail", "right_tail"):
        assert found[group]["value"] == pytest.approx(1, abs=0.002)
        assert found[group]["ci_low"] < 1 < found[group]["ci_high"]
        p = DISTRIBUTION.tail_probability(6.0)[group]
        half = 1.96 * math.sqrt(p / 200_000) / p
        assert found[group]["ci_high"] - 1 == pytest.approx(half, rel=0.1)
    light = by_group(entries_of("tail_mass_ratio", np.zeros((5000, 1)), reference))["left_tail"]
    assert light["value"] == 0  # no mass is a result, and its interval says how little
    assert light["ci_low"] == 0 < light["ci_high"] < 1


def test_tail_mass_ratio_against_test_points():
    rng = np.random.default_rng(3)
    test = DISTRIBUTION.sample(50_000, rng)
    found = by_group(
        entries_of("tail_mass_ratio", DISTRIBUTION.sample(20_000, rng), Reference(test))
    )
    assert found["left_tail"]["ci_low"] < 1 < found["left_tail"]["ci_high"]
    near = Reference(np.clip(test, -5.0, None))
    none = by_group(entries_of("tail_mass_ratio", test, near))["left_tail"]
    assert none["value"] is None
    assert "no test point" in none["reason"]


def test_tails_in_the_plane_are_split_by_the_first_column():
    points = np.array([[3.0, 4.1], [-3.0, 4.1], [0.0, -6.0], [1.0, 1.0], [-5.1, 0.0]])
    tails = Sample(points).tails(5.0)
    assert tails["left_tail"].tolist() == [[-3.0, 4.1], [-5.1, 0.0]]
    assert tails["right_tail"].tolist() == [[3.0, 4.1], [0.0, -6.0]]
    line = Sample(np.array([[-7.0], [6.5], [6.0]])).tails(6.0)
    assert (line["left_tail"].tolist(), line["right_tail"].tolist()) == (
        [[-7.0]],
        [[6.5]],
    )


# --- quantiles and shortfall ---------------------------------------------------------------


def test_tail_quantiles_and_shortfall_of_a_perfect_sample():
    reference = Reference(DISTRIBUTION.sample(100, np.random.default_rng(4)), DISTRIBUTION)
    options = {
        "tail_quantile_error": {"levels": [1e-3, 1e-2]},
        "expected_shortfall": {"levels": [1e-2]},
    }
    found = by_group(entries_of("tail_quantile_error", Spread.points, reference, options))
    assert set(found) == {"p=0.001", "p=0.01", "p=0.999", "p=0.99"}
    assert all(e["value"] < 2e-3 for e in found.values())
    scaled = by_group(entries_of("tail_quantile_error", 1.5 * Spread.points, reference, options))
    assert all(e["value"] == pytest.approx(0.5, abs=3e-3) for e in scaled.values())
    fall = by_group(entries_of("expected_shortfall", Spread.points, reference, options))
    assert set(fall) == {"left_tail:p=0.01", "right_tail:p=0.01"}
    assert all(e["value"] < 3e-3 for e in fall.values())


def test_signs_and_sides_are_not_mixed_up():
    """Moving only the left tail changes only the left entries."""
    reference = Reference(DISTRIBUTION.sample(100, np.random.default_rng(4)), DISTRIBUTION)
    moved = np.where(Spread.points < -4, 2 * Spread.points, Spread.points)
    options = {
        "tail_quantile_error": {"levels": [1e-3]},
        "expected_shortfall": {"levels": [1e-3]},
    }
    quantiles = by_group(entries_of("tail_quantile_error", moved, reference, options))
    assert quantiles["p=0.001"]["value"] == pytest.approx(1.0, abs=0.01)
    assert quantiles["p=0.999"]["value"] < 0.01
    fall = by_group(entries_of("expected_shortfall", moved, reference, options))
    assert fall["left_tail:p=0.001"]["value"] == pytest.approx(1.0, abs=0.02)
    assert fall["right_tail:p=0.001"]["value"] < 0.02


def test_too_few_points_for_a_level_is_a_reason():
    reference = Reference(DISTRIBUTION.sample(100, np.random.default_rng(5)), DISTRIBUTION)
    for name in ("tail_quantile_error", "expected_shortfall"):
        found = entries_of(name, DISTRIBUTION.sample(500, np.random.default_rng(6)), reference)
        short = [e for e in found if e["value"] is None]
        assert short
        assert all("too few" in e["reason"] for e in short)
    # without a distribution the test points decide
    (first, *_) = entries_of("expected_shortfall", Spread.points, Reference(reference.points))
    assert first["reason"].startswith("100 points")


def test_plane_uses_the_norm():
    distribution = BivariateTMixture()
    rng = np.random.default_rng(7)
    samples = distribution.sample(150_000, rng)
    options = {
        "tail_quantile_error": {"levels": [1e-2]},
        "expected_shortfall": {"levels": [1e-2]},
    }
    for reference in (
        Reference(samples[:10], distribution),
        Reference(distribution.sample(150_000, rng)),
    ):
        (quantile,) = entries_of("tail_quantile_error", samples, reference, options)
        (fall,) = entries_of("expected_shortfall", samples, reference, options)
        assert (quantile["group"], fall["group"]) == ("norm:p=0.99", "norm:p=0.01")
        assert quantile["value"] < 0.03
        assert fall["value"] < 0.03


# --- Hill ----------------------------------------------------------------------------------


def test_hill_is_its_formula():
    x = [3.0, 10.0, 1.0, 7.0, 2.0]
    xi = (math.log(10 / 3) + math.log(7 / 3)) / 2
    assert hill(x, 2) == pytest.approx(1 / xi)
    assert hill([5.0, 1.0], 1) == pytest.approx(1 / math.log(5))


def test_hill_recovers_a_pareto_index_with_its_interval():
    rng = np.random.default_rng(8)
    inside = 0
    for _ in range(300):
        x = rng.pareto(5.0, 2000) + 1
        low, high = hill_interval(hill(x, 200), 200, 0.95)
        inside += low <= 5.0 <= high
    assert 0.9 <= inside / 300 <= 0.985


@pytest.mark.parametrize(
    ("x", "k", "message"),
    [
        ([1.0, 2.0], 2, "less than"),
        ([1.0, 2.0], 0, "at least 1"),
        ([-1.0, -2.0, 3.0], 2, "not positive"),
        ([2.0, 2.0, 2.0], 1, "equal"),
    ],
)
def test_hill_says_what_it_cannot_do(x, k, message):
    with pytest.raises(MetricError, match=message):
        hill(x, k)


def test_hill_path_and_its_reference():
    assert path_ks(500_000, 0.01, 8)[0] == 707
    assert path_ks(500_000, 0.01, 8)[-1] == 5000
    assert len(path_ks(500_000, 0.01, 8)) == 8
    rng = np.random.default_rng(9)
    test = DISTRIBUTION.sample(40_000, rng)
    samples = np.abs(DISTRIBUTION.sample(60_000, rng))
    found = entries_of("hill", samples, Reference(test, DISTRIBUTION), {"hill": {"steps": 3}})
    ours = by_group(e for e in found if e["name"] == "hill")
    truth = by_group(e for e in found if e["name"] == "hill_reference")
    assert list(ours) == list(truth)
    assert all(e["latent"] is None for e in truth.values())
    assert all(e["n"] == 40_000 for e in found)  # equal sizes
    for group, e in truth.items():
        view, k = group.split(":k=")
        side = test[:, 0] if view == "right_tail" else -test[:, 0]
        assert e["value"] == pytest.approx(hill(side, int(k)), rel=1e-12)
        assert 2 < e["ci_low"] < e["value"] < e["ci_high"] < 7
    lost = [e for g, e in ours.items() if g.startswith("left")]
    assert all(e["value"] is None and "not positive" in e["reason"] for e in lost)


# --- likelihood ----------------------------------------------------------------------------


def test_importance_weights_of_the_posterior_are_the_likelihood():
    """x = z + e, both standard normal: with q the posterior every weight is p(x)."""
    rng = np.random.default_rng(10)
    x = rng.normal(size=(50, 1)) * math.sqrt(2)
    z = x[:, 0] / 2 + rng.normal(size=(20, 50)) * math.sqrt(0.5)
    log_w = (
        stats.norm.logpdf(z)
        + stats.norm.logpdf(x[:, 0], z)
        - stats.norm.logpdf(z, x[:, 0] / 2, math.sqrt(0.5))
    )
    exact = stats.norm.logpdf(x[:, 0], 0, math.sqrt(2))
    np.testing.assert_allclose(log_mean_weights(log_w), exact, rtol=1e-12)
    np.testing.assert_allclose(effective_sample_size(log_w), 20, rtol=1e-10)
    found = entries_of("log_likelihood", log_w, Reference(x))
    assert [e["name"] for e in found] == ["log_likelihood", "log_likelihood_ess"]
    assert found[0]["value"] == pytest.approx(exact.mean())
    assert found[0]["se"] == pytest.approx(exact.std(ddof=1) / math.sqrt(50))
    # a wide proposal needs many samples, and then gives the same
    z = x[:, 0] / 2 + 2 * rng.normal(size=(20_000, 50))
    log_w = (
        stats.norm.logpdf(z) + stats.norm.logpdf(x[:, 0], z) - stats.norm.logpdf(z, x[:, 0] / 2, 2)
    )
    np.testing.assert_allclose(log_mean_weights(log_w), exact, atol=0.06)
    assert effective_sample_size(log_w).max() < 15_000


def test_importance_weights_do_not_overflow_and_broken_ones_are_named():
    assert log_mean_weights([[-2000.0], [-2000.0 + math.log(3)]])[0] == pytest.approx(
        -2000 + math.log(2)
    )
    points = Reference(np.zeros((2, 1)))
    broken = Sample(np.array([[0.0, math.nan]]), finite=False)
    entries = entries_of("log_likelihood", broken, points)
    assert entries[0]["value"] is None
    assert entries[0]["reason"] == "1 of 2 test points have no finite value"
    with pytest.raises(MetricError, match="3 points for 2"):
        entries_of("log_likelihood", np.zeros((4, 3)), points)


def test_true_likelihood_comes_with_a_distribution():
    x = DISTRIBUTION.sample(30, np.random.default_rng(11))
    found = entries_of("log_likelihood", np.zeros((5, 30)), Reference(x, DISTRIBUTION))
    truth = found[-1]
    assert (truth["name"], truth["latent"]) == ("log_likelihood_true", None)
    assert truth["value"] == pytest.approx(DISTRIBUTION.log_prob(x).mean())


def test_reconstruction_error():
    x = np.arange(8.0).reshape(4, 2)
    (found,) = entries_of("reconstruction_error", x[:3] + np.array([1.0, 2.0]), Reference(x))
    assert (found["value"], found["n"]) == (5.0, 3)
    with pytest.raises(MetricError, match="5 reconstructions"):
        entries_of("reconstruction_error", np.zeros((5, 2)), Reference(x))


# --- options and inputs -----------------------------------------------------------------------


def test_options_are_shared_declared_and_given():
    assert options_of("hill", {"threshold": 5.0, "hill": {"steps": 2}}) == {
        "threshold": 5.0,
        "confidence": 0.95,
        "fraction": 0.01,
        "steps": 2,
    }


def test_inputs_that_are_no_samples_are_refused():
    reference = Reference(np.zeros((3, 1)))
    for samples in (
        np.zeros(3),
        np.zeros((0, 1)),
        np.zeros((2, 1), int),
        np.full((2, 1), np.inf),
    ):
        with pytest.raises(MetricError):
            entries_of("ks", samples, reference)
    with pytest.raises(MetricError, match="columns must agree"):
        entries_of("ks", np.zeros((3, 2)), reference)
    with pytest.raises(MetricError, match="no such metric"):
        entries_of("kss", np.zeros((3, 1)), reference)


def test_entries_refuse_numbers_that_are_not_finite():
    record = entry("a", "all", math.inf, 3, "x", se=math.nan)
    assert record["value"] is None
    assert record["reason"]
    assert "se" not in record


def test_subsample_draws_rows_without_replacement():
    rows = np.arange(20.0)[:, None]
    chosen = subsample(rows, 8, np.random.default_rng(0))
    assert len(np.unique(chosen)) == 8
    assert sorted(subsample(rows, 99, np.random.default_rng(0))[:, 0]) == list(range(20))
