"""Tables against SciPy, closed forms and simulation, on small made-up results."""

from __future__ import annotations

import json
import math
from pathlib import Path

import fake_results as fake
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from t3vae import datasets
from t3vae.datasets import theory
from t3vae.errors import DataError, MetricError
from t3vae.provenance import digests
from t3vae.runtime import files, layout
from t3vae.stages import collect
from t3vae.tables import (
    density_curves,
    headlines,
    latent_mismatch,
    loss_histories,
    names,
    outputs,
    reads,
)
from t3vae.tables.csv_files import read_table, significant, write_table
from t3vae.tables.density_grids import Heatmaps

MIXTURE = [(0.6, -2.0), (0.4, 2.0)]


def mixture_sf(t: float) -> float:
    """Return P(X > t) of the univariate target, from SciPy."""
    return sum(w * stats.t.sf(t - m, 5) for w, m in MIXTURE)


@pytest.fixture(scope="module")
def univariate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("univariate")
    config = fake.collect_config(fake.UNIVARIATE)
    fake.write(root, "toy", fake.UNIVARIATE, config)
    collect.run(root, config, "toy")
    return root


def table(root: Path, name: str) -> pd.DataFrame:
    return read_table(layout.under(root, layout.table("toy", name)))


# --- files --------------------------------------------------------------------------------


def test_floats_have_ten_digits_and_missing_is_empty(tmp_path: Path) -> None:
    frame = pd.DataFrame({"name": ["a", "b"], "value": [1 / 3, np.nan], "count": [1, 2]})
    write_table(tmp_path / "t.csv", frame)
    assert (tmp_path / "t.csv").read_bytes() == b"name,value,count\na,0.3333333333,1\nb,,2\n"
    back = read_table(tmp_path / "t.csv")
    assert back["value"].isna().tolist() == [False, True]


def test_text_that_looks_missing_stays_text(tmp_path: Path) -> None:
    write_table(tmp_path / "t.csv", pd.DataFrame({"model": ["nan", "null", "NA"]}))
    assert read_table(tmp_path / "t.csv")["model"].tolist() == ["nan", "null", "NA"]


def test_infinite_values_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'value'"):
        write_table(tmp_path / "t.csv", pd.DataFrame({"value": [1.0, math.inf]}))
    assert not (tmp_path / "t.csv").exists()


def test_a_missing_table_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="t3vae collect"):
        read_table(tmp_path / "absent.csv")


def test_names_follow_the_figures() -> None:
    assert names({"figures": ["tau_alpha"], "models": []}) == ["tau_alpha.csv"]
    config = {"models": ["vae"], "figures": ["density", "survival"]}
    assert {"densities.csv", "survival.csv", "metrics.csv", "paired.csv"} <= set(names(config))
    assert "heatmaps.csv" not in names(config)
    assert outputs(config)[-1] == "provenance.json"
    assert reads("no_such_figure") == []


# --- curves -------------------------------------------------------------------------------


def test_true_tails_are_those_of_the_distribution() -> None:
    distribution = datasets.load_distribution(fake.UNIVARIATE)
    left, right = density_curves.tails(np.zeros((10, 1)), distribution)
    assert (left.name, right.name) == ("left", "right")
    # quantiles at 1e-5 and 1 - 1e-5, from 40-digit arithmetic
    assert left.quantile(np.array([1e-5]))[0] == pytest.approx(16.54427, abs=1e-5)
    assert right.quantile(np.array([1e-5]))[0] == pytest.approx(15.87660, abs=1e-5)
    assert right.survival(np.array([6.0]))[0] == pytest.approx(mixture_sf(6.0), rel=1e-9)
    assert left.survival(np.array([6.0]))[0] == pytest.approx(0.00319560598, rel=1e-8)


def test_tail_of_the_norm_agrees_with_simulation() -> None:
    distribution = datasets.load_distribution(fake.BIVARIATE)
    (tail,) = density_curves.tails(np.zeros((10, 2)), distribution)
    norms = np.linalg.norm(distribution.sample(400_000, np.random.default_rng(0)), axis=1)
    for radius in (8.0, 12.0, 20.0):
        observed = int((norms > radius).sum())
        expected = float(tail.survival(np.array([radius]))[0])
        assert abs(observed - 400_000 * expected) < 4 * math.sqrt(400_000 * expected)
    for p in (0.1, 1e-3, 1e-5):
        back = tail.survival(tail.quantile(np.array([p])))[0]
        assert back == pytest.approx(p, rel=0.02)
        exact = distribution.norm_quantile(p)
        assert tail.quantile(np.array([p]))[0] == pytest.approx(exact, rel=0.005)


@pytest.mark.parametrize("kind", ["densities", "densities_log", "survival", "quantiles"])
def test_a_sample_of_the_distribution_stays_in_the_band(kind: str) -> None:
    distribution = datasets.load_distribution(fake.UNIVARIATE)
    rng = np.random.default_rng(1)
    samples = 20_000
    inside = []
    for curve in density_curves.curves(kind, np.zeros((10, 1)), distribution, samples):
        low, high = curve.band
        for _ in range(20):
            value = curve.measure(distribution.sample(samples, rng).reshape(-1, 1))
            inside.append((value >= low - 1e-12) & (value <= high + 1e-12))
    share = np.concatenate(inside).mean()
    assert 0.93 < share < 0.995  # discrete counts make the band a little too wide


def test_densities_integrate_to_the_mass_of_their_range() -> None:
    distribution = datasets.load_distribution(fake.UNIVARIATE)
    (curve,) = density_curves.curves("densities", np.zeros((10, 1)), distribution, 1000)
    mass = float((curve.truth * (curve.right - curve.left)).sum())
    assert mass == pytest.approx(mixture_sf(curve.left[0]) - mixture_sf(curve.right[-1]), rel=1e-9)
    samples = np.linspace(curve.left[0], curve.right[-1], 50_001)[:-1, None]
    flat = curve.measure(samples)
    assert float((flat * (curve.right - curve.left)).sum()) == pytest.approx(1.0, abs=1e-4)


def test_without_a_distribution_the_test_data_stand_for_it() -> None:
    test = np.random.default_rng(2).standard_t(4, (5000, 1))
    left, right = density_curves.tails(test, None)
    assert right.survival(np.array([1.0]))[0] == pytest.approx((test > 1.0).mean())
    assert left.quantile(np.array([0.01]))[0] == pytest.approx(-np.quantile(test, 0.01))
    (curve,) = density_curves.curves("densities", test, None, 5000)
    assert np.isfinite(curve.truth).all()


def test_rows_spread_over_seeds() -> None:
    distribution = datasets.load_distribution(fake.UNIVARIATE)
    curve = density_curves.curves("survival", np.zeros((10, 1)), distribution, 1000)[0]
    values = [np.full(len(curve.left), v) for v in (0.1, 0.2, 0.6)]
    row = next(density_curves.rows(curve, "vae", "prior", values))
    assert (row["mean"], row["minimum"], row["maximum"], row["seeds"]) == (0.3, 0.1, 0.6, 3)


# --- heatmaps, latents, histories ---------------------------------------------------------


def test_heatmaps_hold_densities() -> None:
    distribution = datasets.load_distribution(fake.BIVARIATE)
    rng = np.random.default_rng(0)
    test = distribution.sample(50_000, rng)
    grid = Heatmaps.of(test, distribution.log_prob, 3)
    grid.add("vae", "prior", test)
    frame = grid.table()
    area = (frame["x_right"] - frame["x_left"]) * (frame["y_right"] - frame["y_left"])
    assert float((10 ** frame["vae:prior"] * area).sum()) == pytest.approx(1.0, abs=0.02)
    assert float((10 ** frame["truth"] * area).sum()) == pytest.approx(1.0, abs=0.02)
    busy = frame[frame["vae:prior"] > -2]
    assert np.abs(busy["vae:prior"] - busy["truth"]).mean() < 0.06


def test_mismatch_is_the_two_sample_statistic() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(400, 2)), rng.normal(0.3, 1.2, size=(300, 2))
    expected = max(stats.ks_2samp(a[:, i], b[:, i]).statistic for i in range(2))
    assert latent_mismatch.mismatch(a, b) == pytest.approx(expected, abs=1e-12)
    ties = np.array([[0.0], [0.0], [1.0]])
    assert latent_mismatch.mismatch(ties, ties) == 0.0


def _history(epochs: int, value: float) -> pd.DataFrame:
    columns = {name: np.full(epochs, value) for name in loss_histories.QUANTITIES}
    return pd.DataFrame({"epoch": range(epochs), "step": range(epochs), **columns})


def test_history_counts_the_seeds_that_reached_an_epoch() -> None:
    found = loss_histories.history({"vae": [_history(3, 1.0), _history(2, 3.0)]})
    assert found["seeds"].tolist() == [2, 2, 1]
    assert found["train_total_mean"].tolist() == [2.0, 2.0, 1.0]
    assert found["train_total_maximum"].tolist() == [3.0, 3.0, 1.0]


def test_long_histories_are_thinned_but_keep_their_end() -> None:
    many = {f"m{i}": [_history(1000, 1.0)] for i in range(10)}
    found = loss_histories.history(many)
    assert len(found) <= loss_histories.ROWS + 10
    assert found.groupby("model")["epoch"].max().eq(999).all()
    assert found.groupby("model")["epoch"].min().eq(0).all()


def test_a_history_without_a_column_is_refused() -> None:
    with pytest.raises(DataError, match="train_total"):
        loss_histories.history({"vae": [_history(3, 1.0).drop(columns="train_total")]})


# --- headlines ----------------------------------------------------------------------------


def _metric_rows(*rows: tuple[str, str | None, str, float]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["metric", "latent", "group", "mean"])
    return frame.assign(model="vae")


def test_headline_takes_the_middle_of_a_path_and_its_reference() -> None:
    hill = next(h for h in headlines.HEADLINES if h.name == "hill_right")
    frame = _metric_rows(
        *[("hill", "prior", f"right_tail:k={k}", float(k)) for k in (100, 20, 9)],
        *[("hill_reference", None, f"right_tail:k={k}", 10.0 * k) for k in (100, 20, 9)],
    )
    found = headlines.select(frame, hill)
    assert found["mean"].tolist() == [20.0]
    assert found["ideal"].tolist() == [200.0]
    norm = frame.assign(group=frame["group"].str.replace("right_tail", "norm"))
    assert headlines.select(norm, hill)["mean"].tolist() == [20.0]
    assert headlines.select(frame[frame["metric"] == "ks"], hill).empty


def test_summary_has_at_most_five_numbers_with_short_names() -> None:
    assert len(headlines.SUMMARY) <= 5 and all(len(key) <= 7 for key, _ in headlines.SUMMARY)
    both = _metric_rows(("ks", "prior", "all", 0.1), ("ks", "fitted", "all", 0.01234567))
    assert headlines.summary(both, "vae") == {"ks": 0.012346}
    assert headlines.summary(both.iloc[:1], "vae") == {"ks": 0.1}
    assert headlines.summary(both.assign(model="t3vae"), "vae") == {}
    error = _metric_rows(("reconstruction_error", "reconstruction", "all", 34.56789))
    assert headlines.summary(error, "vae") == {"recon": 34.568}


def test_a_missing_number_is_omitted_and_not_taken_from_another_distribution() -> None:
    frame = _metric_rows(("ks", "prior", "all", 0.1), ("ks", "fitted", "all", float("nan")))
    assert headlines.summary(frame, "vae") == {}


# --- collect ------------------------------------------------------------------------------


def test_collect_writes_what_it_promises(univariate: Path) -> None:
    folder = layout.under(univariate, "results/tables/toy")
    promised = set(outputs(fake.collect_config(fake.UNIVARIATE)))
    found = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    assert found == promised


def test_stretched_draws_have_the_stretched_survival(univariate: Path) -> None:
    frame = table(univariate, "survival.csv")
    stretch = fake.STRETCH["t3vae_nu5"]
    part = frame[
        (frame["model"] == "t3vae_nu5") & (frame["latent"] == "prior") & (frame["panel"] == "right")
    ]
    total = 3 * 4000
    for row in part.itertuples():
        expected = mixture_sf(row.left / stretch)
        assert abs(row.mean - expected) < 5 * math.sqrt(expected / total) + 1 / total


def test_an_alternative_that_is_the_prior_is_not_repeated(univariate: Path) -> None:
    for name in ("densities.csv", "survival.csv", "metrics.csv", "latent_mismatch.csv"):
        frame = table(univariate, name)
        distributions = frame.groupby("model")["latent"].agg(lambda values: set(values.dropna()))
        assert "alternative" not in distributions["vae"]
        assert {"prior", "alternative", "fitted"} <= distributions["t3vae_nu5"]


def test_missing_values_keep_their_reason(univariate: Path) -> None:
    missing = table(univariate, "missing.csv")
    assert missing["seed"].tolist() == list(fake.SEEDS)
    assert set(missing["reason"]) == {"no draw beyond the threshold 6"}
    metrics = table(univariate, "metrics.csv")
    row = metrics[
        (metrics["model"] == "vae")
        & (metrics["metric"] == "tail_mass_ratio")
        & (metrics["latent"] == "prior")
        & (metrics["group"] == "left_tail")
    ].iloc[0]
    assert np.isnan(row["mean"])
    assert (row["seeds"], row["missing"]) == (0, 3)


def test_means_and_pairs_are_those_of_the_runs(univariate: Path) -> None:
    def values(model: str) -> np.ndarray:
        found = []
        for seed in fake.SEEDS:
            record = files.read_json(layout.under(univariate, layout.metrics("toy", model, seed)))
            found += [
                entry["value"]
                for entry in record["metrics"]
                if (entry["name"], entry["latent"]) == ("ks", "fitted")
            ]
        return np.array(found)

    def row(frame: pd.DataFrame) -> pd.Series:
        chosen = frame[(frame["metric"] == "ks") & (frame["latent"] == "fitted")]
        return chosen[chosen["model"] == "t3vae_nu5"].iloc[0]

    mine = values("t3vae_nu5")
    metrics, paired = row(table(univariate, "metrics.csv")), row(table(univariate, "paired.csv"))
    assert metrics["mean"] == pytest.approx(mine.mean(), rel=1e-9)
    interval = stats.t.interval(0.95, 2, mine.mean(), mine.std(ddof=1) / math.sqrt(3))
    assert (metrics["ci_low"], metrics["ci_high"]) == pytest.approx(interval, rel=1e-7)
    assert paired["difference"] == pytest.approx((mine - values("vae")).mean(), rel=1e-7)


def test_collect_is_reproducible(univariate: Path) -> None:
    folder = layout.under(univariate, "results/tables/toy")
    before = {p: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
    collect.run(univariate, fake.collect_config(fake.UNIVARIATE), "toy")
    assert {p: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()} == before


def test_provenance_names_every_input(univariate: Path) -> None:
    made = files.read_json(layout.under(univariate, layout.table("toy", "provenance.json")))
    inputs = set(made["provenance"]["inputs"])
    for model in fake.STRETCH:
        for seed in fake.SEEDS:
            assert layout.samples("toy", model, seed) in inputs
            assert layout.metrics("toy", model, seed) in inputs
    assert layout.manifest("toy") in inputs
    assert made["versions"] == [{"python": "3.11.7", "torch": "2.14.1", "t3vae": "0.1.0"}]


def test_collect_says_which_tensor_is_missing(tmp_path: Path) -> None:
    config = fake.collect_config(fake.UNIVARIATE, ["vae"])
    fake.write(tmp_path, "toy", fake.UNIVARIATE, config, samples=50)
    path = layout.under(tmp_path, layout.samples("toy", "vae", 1))
    tensors = files.read_tensors(path)
    del tensors["samples/fitted"]
    files.write_tensors(path, tensors)
    with pytest.raises(DataError, match="samples/fitted"):
        collect.run(tmp_path, config, "toy")


def test_tables_of_the_largest_experiment_fit_into_git(tmp_path: Path) -> None:
    models = ["vae", *(f"t3vae_nu{i}" for i in range(22, 44))]
    for dataset in (fake.UNIVARIATE, fake.BIVARIATE):
        config = fake.collect_config(dataset, models) | {"seeds": [0]}
        fake.write(tmp_path, dataset["source"], dataset, config, samples=20_000)
        collect.run(tmp_path, config, dataset["source"])
        for path in layout.under(tmp_path, f"results/tables/{dataset['source']}").glob("*.csv"):
            assert path.stat().st_size < 1_000_000, path.name


def test_without_a_control_nothing_is_paired(tmp_path: Path) -> None:
    config = fake.collect_config(fake.UNIVARIATE, ["vae"]) | {"control": None, "figures": []}
    fake.write(tmp_path, "toy", fake.UNIVARIATE, config, samples=50)
    collect.run(tmp_path, config, "toy")
    assert table(tmp_path, "paired.csv").empty
    assert json.loads(layout.under(tmp_path, layout.headline("toy", "vae")).read_text())


# --- theory -------------------------------------------------------------------------------

# Values from 40-digit arithmetic: R(0, Sigma) for n = m = 1, sigma = 1; and where it is zero.
REGULARIZER = {
    2.1: ([0.062912, 0.402525, 0.848966, 1.760622, 2.680824], 0.001949),
    3.0: ([0.090456, 0.009998, 0.146825, 0.596745, 1.135116], 0.183776),
    5.0: ([0.653409, 0.114719, 0.001098, 0.136615, 0.441501], 0.533578),
}


@pytest.mark.parametrize("nu", sorted(REGULARIZER))
def test_regularizer_curve_has_the_reference_values(nu: float) -> None:
    from t3vae.maths.constants import gamma_constants

    constants = gamma_constants(nu, 1, 1, 1.0)
    values, zero = REGULARIZER[nu]
    found = theory.regularizer(np.array([0.05, 0.25, 0.5, 1.0, 1.499]), constants)
    assert found == pytest.approx(values, abs=6e-7)
    assert theory.regularizer(np.array([zero]), constants)[0] == pytest.approx(0.0, abs=1e-6)


def test_theory_tables(tmp_path: Path) -> None:
    config = fake.CONSTANTS | {
        "tau_alpha": fake.CONSTANTS["tau_alpha"] | {"excess_max": 100.0, "points": 5}
    }
    folder = layout.under(tmp_path, layout.prepared("constants"))
    datasets.prepare(config, folder, digests.provenance("prepare", config))
    job = {"dataset": "constants", "models": [], "figures": fake.FIGURES_THEORY}
    collect.run(tmp_path, job, "toy")
    tau = table(tmp_path, "tau_alpha.csv").set_index(["data_dim", "nu_minus_two"])
    sixteen = tau.loc[16].reset_index(drop=True)
    assert sixteen["tau"].tolist() == pytest.approx(
        [0.162855, 0.189554, 0.234441, 0.409035, 0.821709], abs=6e-7
    )
    assert sixteen["alpha"].tolist() == pytest.approx(
        [0.027675, 0.036825, 0.054961, 0.160685, 0.661192], abs=6e-7
    )
    high = table(tmp_path, "high_dimension.csv")
    last = high[high["data_dim"] == 12288].set_index("nu")["tau_sq"]
    assert last.tolist() == pytest.approx(
        [0.058500, 0.058548, 0.058622, 0.058899, 0.059856], abs=6e-7
    )
    assert high["limit"].unique() == pytest.approx([1 / (2 * math.pi * math.e)])
    curve = table(tmp_path, "regularizer.csv")
    gauss = curve[curve["nu"] == 0]
    expected = gauss["variance"] - np.log(gauss["variance"]) - 1
    assert gauss["regularizer"].to_numpy() == pytest.approx(expected.to_numpy(), abs=1e-9)


def test_an_unknown_theory_table_is_refused(tmp_path: Path) -> None:
    made = digests.provenance("prepare", fake.CONSTANTS)
    manifest = {"config": fake.CONSTANTS, "provenance": made}
    files.write_json(layout.under(tmp_path, layout.manifest("constants")), manifest)
    with pytest.raises(DataError, match="tau_alpha"):
        collect.run(tmp_path, {"dataset": "constants", "models": [], "figures": ["tau_alpha"]}, "c")


def test_significant_digits() -> None:
    assert significant(-123456.789) == -123457.0
    assert math.isnan(significant(math.nan))


# --- data without spread, or far from zero -------------------------------------------------


@pytest.mark.parametrize(("centre", "spread"), [(0, 1), (1e6, 1), (1e6, 1e-6), (-3, 1e-9), (5, 0)])
def test_densities_far_from_zero_and_of_a_constant(centre, spread):
    rng = np.random.default_rng(0)
    x = centre + spread * rng.standard_normal((800, 2))
    for kind in ("densities", "densities_log"):
        (curve,) = density_curves.curves(kind, x[:, :1], None, 800)
        widths = curve.right - curve.left
        assert (widths > 0).all()
        assert (curve.measure(x[:, :1]) * widths).sum() > 0.98
        assert np.isfinite(curve.band).all()
    rows = list(latent_mismatch.densities("vae", 0, x, {"prior": x}))
    mass = sum(r["density"] * (r["right"] - r["left"]) for r in rows if r["latent"] == "prior")
    assert mass == pytest.approx(1, abs=0.01)
    grid = Heatmaps.of(x, None, 1)
    assert np.isfinite(grid.truth).all() and grid.truth.sum() > 0


def test_a_tail_on_the_other_side_of_zero_has_no_curve():
    x = -100 + np.random.default_rng(1).standard_normal((500, 1))
    for kind in ("survival", "quantiles"):
        assert [c.panel for c in density_curves.curves(kind, x, None, 500)] == ["left"]
        assert density_curves.curves(kind, np.zeros((500, 1)), None, 500) == []


def test_mismatch_refuses_what_is_no_number():
    broken = np.array([[0.0], [np.nan]])
    with pytest.raises(MetricError, match="not numbers"):
        latent_mismatch.mismatch(broken, np.zeros((3, 1)))
