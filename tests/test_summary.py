"""What seeds say together, against SciPy and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from t3vae.errors import MetricError
from t3vae.metrics.summary import combine_p_values, holm, paired, summarise, t_interval


def entries(model, values, *, name="ks", latent="prior", group="all", **more):
    return [
        {
            "model": model,
            "seed": seed,
            "name": name,
            "latent": latent,
            "group": group,
            "value": value,
            "n": 100 + seed,
            **({"reason": "empty tail"} if value is None else {}),
            **{key: numbers[seed] for key, numbers in more.items()},
        }
        for seed, value in enumerate(values)
    ]


def test_t_interval_agrees_with_scipy():
    values = [0.31, 0.27, 0.44, 0.29]
    mean, sd, low, high = t_interval(values, 0.9)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    assert (mean, sd) == pytest.approx((np.mean(values), np.std(values, ddof=1)))
    assert (low, high) == pytest.approx((expected.low, expected.high))
    assert t_interval([2.0]) == (2.0, None, None, None)


def test_holm_worked_example():
    # R: p.adjust(c(0.01, 0.02, 0.03, 0.04, 0.05), "holm")
    assert holm([0.01, 0.02, 0.03, 0.04, 0.05]) == pytest.approx([0.05, 0.08, 0.09, 0.09, 0.09])
    assert holm([0.04, None, 0.001]) == pytest.approx([0.04, None, 0.002])
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_between_raw_and_bonferroni_and_keeps_order(p_values):
    adjusted = holm(p_values)
    for p, a in zip(p_values, adjusted, strict=True):
        assert p <= a <= min(1.0, p * len(p_values)) + 1e-12
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(np.array(adjusted)[order]) >= 0).all()


def test_combined_p_values_are_valid_under_any_dependence():
    assert combine_p_values([0.2]) == 0.2
    assert combine_p_values([0.01, 0.5]) == 0.02
    assert combine_p_values([0.9, 0.01, 0.02]) == pytest.approx(0.03)
    assert combine_p_values([0.9] * 5) == 1.0
    rng = np.random.default_rng(0)
    shared = np.tile(rng.uniform(size=(4000, 1)), 3)
    alone = rng.uniform(size=(4000, 3))
    worst = (rng.uniform(size=(4000, 1)) + np.arange(3) / 3) % 1.0
    for p_values in (shared, alone, worst):
        rejected = np.mean([combine_p_values(row) <= 0.05 for row in p_values])
        assert rejected <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / 4000)


def test_summary_rows():
    table = [
        *entries("vae", [0.1, 0.2, 0.3], p_value=[0.01, 0.03, 0.5]),
        *entries("vae", [1.0, None, 3.0], latent="fitted", group="left_tail"),
        *entries("t3vae", [0.4], p_value=[0.02]),
        *entries("t3vae", [None, None], name="hill", latent=None),
    ]
    rows = {(r["model"], r["metric"], r["latent"], r["group"]): r for r in summarise(table)}
    assert len(rows) == 4
    first = rows["vae", "ks", "prior", "all"]
    assert first["mean"] == pytest.approx(0.2)
    assert first["seeds"] == 3
    assert first["missing"] == 0
    assert first["reason"] is None
    assert first["n"] == 100
    half = stats.t.ppf(0.975, 2) * 0.1 / np.sqrt(3)
    assert first["ci_high"] == pytest.approx(0.2 + half)
    assert first["p_value_median"] == 0.03
    assert first["p_value_combined"] == pytest.approx(0.045)
    assert first["p_value_holm"] == pytest.approx(0.045)
    assert rows["t3vae", "ks", "prior", "all"]["p_value_holm"] == pytest.approx(0.04)
    partial = rows["vae", "ks", "fitted", "left_tail"]
    assert (partial["mean"], partial["seeds"], partial["missing"]) == (2.0, 2, 1)
    assert partial["reason"] == "empty tail"
    assert partial["p_value_holm"] is None
    gone = rows["t3vae", "hill", None, "all"]
    assert (gone["mean"], gone["sd"], gone["seeds"], gone["missing"]) == (
        None,
        None,
        0,
        2,
    )
    single = rows["t3vae", "ks", "prior", "all"]
    assert (single["sd"], single["ci_low"]) == (None, None)


def test_paired_differences_agree_with_scipy():
    control, ours = [0.30, 0.35, 0.28, 0.40], [0.21, 0.33, 0.22, 0.30]
    worse = [value + gap for value, gap in zip(control, [0.1, 0.2, 0.05, 0.3], strict=True)]
    table = entries("vae", control) + entries("t3vae", ours) + entries("beta", worse)
    rows = {r["model"]: r for r in paired(table, "vae")}
    assert set(rows) == {"t3vae", "beta"}
    expected = stats.ttest_rel(ours, control)
    row = rows["t3vae"]
    assert row["control"] == "vae"
    assert row["difference"] == pytest.approx(np.mean(ours) - np.mean(control))
    interval = expected.confidence_interval(0.95)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((interval.low, interval.high))
    assert row["p_value"] == pytest.approx(expected.pvalue)
    other = stats.ttest_rel(worse, control).pvalue
    adjusted = [2 * min(expected.pvalue, other), max(expected.pvalue, other)]
    assert row["p_value_holm"] == pytest.approx(adjusted[int(expected.pvalue > other)])


def test_pairs_need_both_seeds():
    table = entries("vae", [1.0, None, 3.0]) + entries("t", [2.0, 5.0])
    (row,) = paired(table, "vae")
    assert (row["seeds"], row["difference"]) == (1, 1.0)
    assert (row["sd"], row["p_value"], row["p_value_holm"]) == (None, None, None)
    assert paired(entries("vae", [None]) + entries("t", [1.0]), "vae") == []
    assert paired(entries("t", [1.0]), "vae") == []


@pytest.mark.parametrize(
    "ours",
    [
        [0.30, 0.35, 0.28, 0.40],  # the control itself
        [0.21, 0.26, 0.19, 0.31],  # better by 0.09, but for rounding
        [1.30, 1.35, 1.28, 1.40],
    ],
)
def test_differences_that_do_not_vary_are_no_evidence(ours):
    control = [0.30, 0.35, 0.28, 0.40]
    (row,) = paired(entries("vae", control) + entries("t", ours), "vae")
    assert row["difference"] == pytest.approx(ours[0] - control[0]) and row["sd"] == 0
    assert (row["ci_low"], row["ci_high"]) == (None, None)
    assert (row["p_value"], row["p_value_holm"]) == (None, None)


def test_a_paired_test_needs_three_pairs_and_every_run():
    control, ours = [0.30, 0.35, 0.28, 0.40], [0.21, 0.33, 0.22, 0.30]
    for runs, tested in ((4, True), (3, True), (2, False), (1, False)):
        (row,) = paired(entries("vae", control[:runs]) + entries("t", ours[:runs]), "vae")
        assert (row["p_value"] is not None) == tested and row["seeds"] == runs
        assert (row["ci_low"] is not None) == (runs > 1)
    for missing in (None, np.nan, np.inf):
        (row,) = paired(entries("vae", control) + entries("t", [*ours[:3], missing]), "vae")
        assert row["seeds"] == 3 and row["p_value"] is None and row["ci_low"] is not None
    (row,) = paired(entries("vae", control) + entries("t", ours[:3]), "vae")
    assert row["p_value"] is None


def test_a_value_that_is_not_finite_is_a_missing_one():
    values, p = [0.1, np.nan, 0.3, np.inf], [0.01, 0.001, 0.5, 0.001]
    (row,) = summarise(entries("vae", values, p_value=p))
    assert (row["mean"], row["seeds"], row["missing"]) == (pytest.approx(0.2), 2, 2)
    assert row["reason"] == "not a finite number"
    combined = [row[f"p_value_{name}"] for name in ("median", "combined", "holm")]
    assert combined == [None] * 3


def test_p_values_are_combined_only_where_every_run_has_one():
    both = [
        *entries("vae", [0.1, 0.2, 0.3], p_value=[0.01, 0.02, 0.03]),
        *entries("t", [0.1, 0.2, 0.3], p_value=[0.001, None, 0.002]),
        *entries("beta", [0.1, None, 0.3], p_value=[0.001, 0.001, 0.002]),
        *entries("twin", [0.1, 0.2, 0.3], p_value=[0.001, np.nan, 0.002]),
    ]
    rows = {row["model"]: row for row in summarise(both)}
    assert rows["vae"]["p_value_combined"] == rows["vae"]["p_value_holm"] == pytest.approx(0.03)
    for model in ("t", "beta", "twin"):
        assert rows[model]["p_value_combined"] is rows[model]["p_value_holm"] is None


def test_what_is_no_p_value_is_refused_or_left_out():
    assert holm([0.02, np.nan, 0.01, None]) == pytest.approx([0.02, None, 0.02, None])
    for bad in (-0.1, 1.2):
        with pytest.raises(MetricError, match="from 0 to 1"):
            holm([0.5, bad])
    for values in ([0.1, np.nan], [2.0], [-1.0, 0.5]):
        with pytest.raises(MetricError, match="from 0 to 1"):
            combine_p_values(values)
    with pytest.raises(MetricError, match="at least one"):
        combine_p_values([])
    for values in ([], [0.1, np.nan], [np.inf, 1.0]):
        with pytest.raises(MetricError, match="all finite"):
            t_interval(values)


def test_values_of_the_truth_are_not_compared():
    table = entries("vae", [1.0], name="hill_reference") + entries(
        "t", [1.0], name="hill_reference"
    )
    assert paired(table, "vae") == []


def test_two_values_of_one_seed_are_an_error():
    with pytest.raises(MetricError, match="two values"):
        summarise(entries("vae", [1.0]) * 2)


def test_the_warning_with_the_fewest_points_reaches_the_rows():
    def fid(model, seed, n, flag=None):
        more = {"flag": flag} if flag else {}
        base = {"name": "fid", "latent": "prior", "group": "tail", "value": 1.0 + seed}
        return {**base, "model": model, "seed": seed, "n": n, **more}

    table = [fid("a", 0, 90, "only 90"), fid("a", 1, 30, "only 30"), fid("a", 2, 500)]
    table += [fid("b", seed, 500) for seed in range(3)]
    flags = {row["model"]: row["flag"] for row in summarise(table)}
    assert flags == {"a": "only 30", "b": None}
    assert [row["flag"] for row in paired(table, "a")] == ["only 30"]
    assert [row["flag"] for row in paired(table[2:], "a")] == [None]
    missing = fid("a", 0, 1, "only 1") | {"value": None, "reason": "too few"}
    assert summarise([missing])[0]["flag"] is None
