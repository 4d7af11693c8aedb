"""Tables, figures and report of an experiment on images, from made-up results."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import fake_images as fake
import model_looks
import numpy as np
import pandas as pd
import pytest
import scipy.stats
from drawn_texts import check_apart, check_inside, texts
from matplotlib.figure import Figure
from matplotlib.image import BboxImage
from model_looks import label_of

from t3vae.errors import DataError
from t3vae.figures.style import PAGE_HEIGHT_MM, Style
from t3vae.metrics.summary import paired
from t3vae.provenance.figure_metadata import read_provenance
from t3vae.report.page import build
from t3vae.runtime import files, layout
from t3vae.settings import parameters
from t3vae.settings.figures import FIGURES
from t3vae.stages import collect, figure
from t3vae.tables import reads
from t3vae.tables.by_class import columns, each
from t3vae.tables.csv_files import read_table, write_table
from t3vae.tables.image_tables import decode, encode, picks

MORE = [
    *("student_t_vae", "hvae", "hvae_matched", "hvae_matched_scaled", "t3hvae_joint_nu10"),
    *("t3hvae_nu10", "de_vae_nu10", "vae_st_nu10", "factor_vae_tc5", "tilted_vae_tau10", "c_vae"),
    *("beta_vae_matched_scaled_nu2p5", "beta_vae_matched_nu2p5", "c_vae_matched_scaled"),
    *("t3vae_nu2p5", "t3vae_nu5", "beta_vae_0p05"),
]
CHECKOUT = Path(__file__).parents[1]
CASES = [("classes", name) for name in fake.FIGURES] + [("faces", name) for name in fake.FACES]


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for experiment in ("faces", "classes"):  # one data set after the other
        faces = experiment == "faces"
        config = fake.collect_config(faces)
        fake.write(folder, experiment, config, faces)
        collect.run(folder, config, experiment)
        for name in config["figures"]:
            figure.run(folder, figure_config(name, config["models"]), experiment, name)
    return folder


def figure_config(name: str, models: list[str]) -> dict:
    return {"name": name, "models": models, "looks": model_looks.of(models), "style": {}}


def table(root: Path, experiment: str, name: str):
    return read_table(layout.under(root, layout.table(experiment, name)))


# --- tables -------------------------------------------------------------------------------


def test_images_survive_the_table():
    x = np.random.default_rng(0).integers(0, 256, (3, 9, 7)).astype(np.uint8)
    np.testing.assert_array_equal(decode(encode(x), x.shape), x)
    with pytest.raises(DataError, match="Collect again"):
        decode(encode(x)[:40], x.shape)
    with pytest.raises(DataError, match="Collect again"):
        decode(encode(x), (3, 9, 8))


def test_smooth_images_take_little_room():
    ramp = np.broadcast_to(np.arange(0, 128, 2, dtype=np.uint8), (3, 64, 64))
    assert len(encode(np.array(ramp))) < 200


def test_picks_take_every_class_in_turn():
    assert picks(np.array([4, 5, 6, 7, 8]), np.array([1, 1, 1, 0, 0]), 4) == [7, 4, 8, 5]
    assert picks(np.array([4, 5]), None, 9) == [4, 5]


def test_all_models_reconstruct_the_same_test_images(root):
    found = table(root, "classes", "reconstructions.csv").fillna({"model": ""})
    test = files.read_npy(layout.under(root, layout.prepared("toy", "test.npy")))
    labels = files.read_npy(layout.under(root, layout.prepared("toy", "test_labels.npy")))
    rows = {m: list(part["row"]) for m, part in found.groupby("model")}
    assert set(rows) == {"", *fake.MODELS} and len({tuple(r) for r in rows.values()}) == 1
    for row in found[found["model"] == ""].itertuples():
        shape = (row.channels, row.height, row.width)
        np.testing.assert_array_equal(decode(row.pixels, shape), test[row.row])
        assert labels[row.row] in fake.GROUPS[row.group]
    samples = files.read_tensors(layout.under(root, layout.samples("classes", "vae", 0)))
    first = found[found["model"] == "vae"].iloc[0]
    np.testing.assert_array_equal(
        decode(first["pixels"], (1, 8, 8)), samples["reconstructions"][first["row"]]
    )


def test_samples_come_from_the_models_own_distribution_and_the_fitted_one(root):
    found = table(root, "classes", "samples.csv")
    latents = {m: list(dict.fromkeys(part["latent"])) for m, part in found.groupby("model")}
    assert latents["vae"] == ["prior", "fitted"] and latents["t3vae_nu10"] == [
        "alternative",
        "fitted",
    ]
    assert "tail" not in set(found["group"])  # no draw was seen there


def test_single_classes_have_a_table_of_their_own(root):
    shared, each = (table(root, "classes", name) for name in ("metrics.csv", "per_class.csv"))
    assert not shared["group"].str.startswith("class:").any()
    assert {"all", "head", "tail"} <= set(shared["group"])
    assert set(each["group"]) == {f"class:{k}" for k in range(6)}
    assert len(each) == len(each.drop_duplicates(["model", "latent", "group"]))
    assert dict(zip(each["group"], each["frequency"], strict=True))["class:4"] == 12
    faces = table(root, "faces", "attributes.csv")
    shares = dict(zip(faces["name"], faces["frequency"], strict=True))
    assert shares["Young"] + shares["not_Young"] == pytest.approx(1, abs=1e-5)


def test_a_line_of_a_class_holds_what_its_runs_measured(root):
    found = table(root, "classes", "per_class.csv").set_index(["model", "latent", "group"])
    row = found.loc["t3vae_nu10", "prior", "class:3"]
    values = []
    for seed in fake.SEEDS:
        record = files.read_json(layout.under(root, layout.metrics("classes", "t3vae_nu10", seed)))
        values += [
            e["value"]
            for e in record["metrics"]
            if (e["name"], e["latent"], e["group"])
            == ("frechet_distance_classifier", "prior", "class:3")
        ]
    half = scipy.stats.t.ppf(0.975, 2) * np.std(values, ddof=1) / np.sqrt(3)
    name = "frechet_distance_classifier"
    assert row[name] == pytest.approx(np.mean(values), rel=1e-3)
    assert row[f"{name}_half"] == pytest.approx(half, rel=1e-2)
    assert (row[f"{name}_seeds"], row["n"], row[f"{name}_few"]) == (3, 40, 1)
    fitted = found.loc["t3vae_nu10", "fitted", "class:3"]
    assert np.isnan(fitted[f"{name}_few"]) and np.isnan(fitted["class_f1"])


def test_a_hundred_classes_of_many_models_stay_below_a_megabyte(tmp_path):
    rng = np.random.default_rng(0)
    flag = "only 100 images for 256 features: below twice the number of features"
    entries = [
        {
            "model": f"beta_vae_matched_{m}",
            "seed": seed,
            "name": name,
            "latent": latent,
            "group": f"class:{k}",
            "value": 300 * rng.random(),
            "n": 100,
            "flag": flag,
        }
        for m in range(22)
        for seed in (0, 1)
        for latent in ("prior", "fitted", "reconstruction")
        for name in ("frechet_distance_classifier", "fid", "class_mass")
        for k in range(100)
    ]
    manifest = {"classes": ["aquarium_fish"] * 100, "class_counts": {"train": [500] * 100}}
    write_table(tmp_path / "each.csv", each("per_class.csv", entries, manifest, None))
    assert 3e5 < (tmp_path / "each.csv").stat().st_size < 1e6


def test_warnings_reach_tables_figures_and_report(root):
    for name in ("metrics.csv", "paired.csv"):
        found = table(root, "classes", name)
        frechet = found[found["metric"] == "frechet_distance_classifier"]
        flagged = frechet[(frechet["group"] == "tail") & (frechet["latent"] == "prior")]
        assert set(flagged["flag"]) == {fake.FEW}
        rest = found[~((found["group"] == "tail") & (found["latent"] == "prior"))]
        assert rest["flag"].isna().all()
    for name in ("metrics", "paired"):
        drawn = draw(root, "classes", name)
        assert [text for text, _ in texts(drawn)].count("few images") == 1
        hollow = {
            axes.get_title(loc="left")
            for axes in drawn.axes
            for line in axes.lines
            if line.get_marker() == "o" and line.get_markerfacecolor() == "white"
        }
        assert hollow == {"Fréchet, tail"}
    titles = {axes.get_title(loc="left") for axes in draw(root, "classes", "per_class").axes}
    assert {"Fréchet, model prior †", "Fréchet, fitted distribution"} <= titles


@pytest.mark.parametrize(
    "name", ["metrics", "paired", "per_class", "class_curves", "history", "attributes"]
)
def test_many_models_fit_the_page_and_nothing_is_covered(root, name):
    experiment = "faces" if name == "attributes" else "classes"
    drawn = draw(root, experiment, name, fake.MODELS + MORE)
    width, height = 25.4 * drawn.get_size_inches()
    assert width == pytest.approx(180.0) and height < PAGE_HEIGHT_MM + 1e-6
    found = texts(drawn)
    shown = " ".join(" ".join(text for text, _ in found).split())
    few = name == "class_curves"  # which shows the models with the most controls
    for model in ("t3vae_nu10", "beta_vae_matched_scaled" + ("" if few else "_nu2p5")):
        assert label_of(model) in shown
    check_inside(drawn, found)
    check_apart(found)


def draw(root: Path, experiment: str, name: str, models: list[str] | None = None) -> Figure:
    """Return a figure, laid out; models without results of their own take a control's."""
    style = Style.of(figure_config(name, models or fake.MODELS))
    tables = {t: table(root, experiment, t) for t in reads(name)}
    for key, rows in tables.items():
        new = [m for m in style.models if m not in set(rows["model"])]
        copies = [rows[rows["model"] == fake.MODELS[1]].assign(model=m) for m in new]
        tables[key] = pd.concat([rows, *copies], ignore_index=True)
    module, _, function = FIGURES[name].code.partition(":")
    with style.applied():
        drawn: Figure = getattr(import_module(module), function)(tables, style)
        drawn.canvas.draw()
    return drawn


@pytest.mark.parametrize("experiment", ["digits_lt", "cifar10_lt", "folder_lt", "celeba"])
def test_all_controls_of_an_experiment_fit_the_page(root, experiment):
    entry = parameters.load(CHECKOUT / "params.yaml").experiments[experiment]
    pairs = [
        (model, control)
        for model in entry.models
        for control in entry.controls.get(model, [entry.control])
        if model != control
    ]
    found = table(root, "classes", "paired.csv")
    one = found[(found["model"] == "t3vae_nu10") & (found["control"] == "beta_vae_matched")]
    kid = one[one["metric"] == "kid"]
    more = [kid.assign(metric=m) for m in ("fid", "precision", "recall", "density", "active_units")]
    rows = pd.concat(
        [part.assign(model=m, control=c) for m, c in pairs for part in (one, *more)],
        ignore_index=True,
    )
    style = Style.of(figure_config("paired", list(entry.models)))
    with style.applied():
        drawn = import_module("t3vae.figures.paired").paired({"paired.csv": rows}, style)
        drawn.canvas.draw()
    assert 25.4 * drawn.get_figheight() < PAGE_HEIGHT_MM + 1e-6
    labels = [label.get_text() for label in drawn.axes[0].get_yticklabels()]
    assert len(labels) == len(pairs) + len({control for _, control in pairs})
    check_inside(drawn, texts(drawn))
    check_apart(texts(drawn))


def test_metrics_that_no_page_holds_are_left_out_from_the_end(root):
    found = table(root, "classes", "paired.csv")
    one = found[(found["model"] == "t3vae_nu10") & (found["control"] == "beta_vae_matched")]
    names = ("beta_vae_matched", *(f"t3vae_nu{k}" for k in range(3, 63)))
    style = Style(models=names, looks=model_looks.of(names))
    names = ("kid", "fid", "precision", "recall", "density", "coverage", "active_units")
    rows = pd.concat(
        [one[one["metric"] == "kid"].assign(metric=n, model=m)
         for n in names for m in style.models[1:]], ignore_index=True,
    )  # fmt: skip
    with style.applied():
        drawn = import_module("t3vae.figures.paired").paired({"paired.csv": rows}, style)
    titles = [axes.get_title(loc="left") for axes in drawn.axes if axes.get_visible()]
    assert titles == ["FID", "KID", "precision", "recall", "density", "coverage"]
    assert 25.4 * drawn.get_figheight() < PAGE_HEIGHT_MM + 1e-6


def curves(rows: pd.DataFrame, pairs: list[tuple[str, str]], models: list[str]) -> Figure:
    style = Style.of(figure_config("class_curves", models))
    tables = {"paired.csv": pd.DataFrame(pairs, columns=["model", "control"])}
    with style.applied():
        drawn: Figure = import_module("t3vae.figures.class_curves").class_curves(
            {"per_class.csv": rows, **tables}, style
        )
        drawn.canvas.draw()
    return drawn


def lines_of(axes) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the curves of a panel, without the markers of the model."""
    found = [line for line in axes.lines if line.get_linestyle() != "None"]
    return [(np.asarray(line.get_xdata()), np.asarray(line.get_ydata())) for line in found]


def test_a_curve_holds_the_means_of_its_model_and_controls(root):
    drawn = draw(root, "classes", "class_curves")
    shown = [m for m in fake.MODELS if m != "vae"]  # the control of the others has none itself
    assert len(drawn.legends) == len(shown)
    names = [[t.get_text().replace("\n", " ") for t in one.get_texts()] for one in drawn.legends]
    both = ["beta_vae_matched", "beta_vae_matched_scaled"]
    assert names[shown.index("t3vae_nu10")] == [*map(label_of, ["t3vae_nu10", *both])]
    rows = table(root, "classes", "per_class.csv").set_index(["model", "latent", "group"])
    groups = [f"class:{k}" for k in range(6)]
    panel = drawn.axes[2 * len(shown) + shown.index("t3vae_nu10")]
    assert (
        drawn.axes[2 * len(shown)].get_title(loc="left") == "Fréchet distance, fitted distribution"
    )
    low, high = panel.get_xlim()
    assert panel.get_xscale() == "log" and low > 200 > 10 > high  # from many to few
    for model, (x, y) in zip([*both, "t3vae_nu10"], lines_of(panel), strict=True):
        np.testing.assert_allclose(x, fake.COUNTS)
        own = [rows.loc[(model, "fitted", g), "frechet_distance_classifier"] for g in groups]
        np.testing.assert_allclose(y, own)
    bars = panel.collections[-1].get_segments()  # of the model
    half = rows.loc[("t3vae_nu10", "fitted", "class:3"), "frechet_distance_classifier_half"]
    assert bars[3][1, 1] - bars[3][0, 1] == pytest.approx(2 * half)


def many_classes(sizes: list[float], lacking: str = "") -> pd.DataFrame:
    rows = [
        {"model": m, "latent": "reconstruction", "group": f"class:{k}", "name": str(k), "n": 100,
         "frequency": size, "reconstruction_error": start + k,
         "reconstruction_error_half": 0.1 * k}
        for m, start in (("a", 1.0), ("b", 2.0)) for k, size in enumerate(sizes)
        if f"class:{k}" != lacking
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=columns("per_class.csv"))


def test_many_classes_are_pooled_into_ten_points():
    sizes = [500.0 * 0.01 ** (k / 99) for k in range(100)]
    rows = many_classes(sizes)
    gone = (rows["group"] == "class:57") & (rows["model"] == "b")
    drawn = curves(rows[~gone], [("b", "a")], ["a", "b"])
    (x, control), (_, model) = lines_of(drawn.axes[0])
    np.testing.assert_allclose(x, np.exp(np.log(sizes).reshape(10, 10).mean(axis=1)))
    np.testing.assert_allclose(control, 1.0 + np.arange(100).reshape(10, 10).mean(axis=1))
    assert np.isnan(model[5])  # a class has no value there
    np.testing.assert_allclose(np.delete(model, 5), np.delete(control, 5) + 1.0)


def test_classes_of_one_size_are_one_point():
    drawn = curves(many_classes([500.0] * 30), [("b", "a")], ["a", "b"])
    (_, control), (x, model) = lines_of(drawn.axes[0])
    assert (list(x), list(control), list(model)) == ([pytest.approx(500.0)], [15.5], [16.5])
    check_apart(texts(drawn))


def test_columns_are_the_models_with_the_most_controls():
    base = many_classes([50.0, 10.0, 5.0])
    names = [f"t3vae_nu{k}" for k in range(10, 19)]
    one = base[base["model"] == "a"]
    rows = pd.concat([one.assign(model=m) for m in names], ignore_index=True)
    pairs = [(m, names[0]) for m in names[1:]] + [(names[8], names[1]), (names[7], names[1])]
    drawn = curves(rows, pairs, names)
    shown = [one.get_texts()[0].get_text().replace("\n", " ") for one in drawn.legends]
    assert shown == [label_of(names[k]) for k in (1, 2, 3, 4, 7, 8)]
    alone = curves(rows, [], names)  # without any control
    assert len(alone.legends) == 6


def test_differences_to_both_controls(root):
    found = table(root, "classes", "paired.csv")
    controls = found.groupby("model")["control"].agg(set).to_dict()
    assert controls["t3vae_nu10"] == {"beta_vae_matched", "beta_vae_matched_scaled"}
    assert controls["beta_vae_matched"] == {"vae"} and "vae" not in controls
    own = found[(found["model"] == "t3vae_nu10") & (found["control"] == "beta_vae_matched")]
    # the control has no distribution of its own, and stands there with its prior
    assert "alternative" in set(own["latent"])


def test_pairs_by_hand():
    entries = [
        {"model": m, "seed": s, "name": "fid", "latent": "prior", "group": "all", "value": v + s}
        for m, v in (("a", 1.0), ("b", 3.0), ("c", 7.0))
        for s in (0, 1)
    ]
    found = paired(entries, "a", controls={"c": ["b", "a"]})
    gaps = {(row["model"], row["control"]): row["difference"] for row in found}
    assert gaps == {("b", "a"): 2.0, ("c", "b"): 4.0, ("c", "a"): 6.0}
    assert paired(entries, None) == []


def test_headlines_of_images(root):
    found = files.read_json(layout.under(root, layout.headline("classes", "c_t3vae_nu10")))
    assert set(found) == {"recon", "frechet"}


# --- figures ------------------------------------------------------------------------------


@pytest.mark.parametrize(("experiment", "name"), CASES)
def test_figures_are_drawn_with_provenance_and_caption(root, experiment, name):
    path = layout.under(root, layout.figure(experiment, name, "png"))
    assert path.stat().st_size > 2000 and read_provenance(path)["inputs"]
    assert len(FIGURES[name].caption) > 40


@pytest.mark.parametrize("name", ["samples", "per_class", "class_curves", "metrics", "paired"])
def test_figures_are_the_same_bytes_again(root, tmp_path, name):
    path = layout.under(root, layout.figure("classes", name, "png"))
    before = path.read_bytes()
    figure.run(root, figure_config(name, fake.MODELS), "classes", name)
    assert path.read_bytes() == before


def test_grids_show_each_image_once(root):
    for name in ("samples", "reconstructions"):
        style = Style.of(figure_config(name, fake.MODELS))
        rows = table(root, "classes", f"{name}.csv")
        module, _, function = FIGURES[name].code.partition(":")
        with style.applied():
            drawn: Figure = getattr(import_module(module), function)({f"{name}.csv": rows}, style)
        shown = [artist for artist in drawn.artists if isinstance(artist, BboxImage)]
        assert len(shown) == len(rows)
        boxes = [i.get_window_extent().transformed(drawn.transFigure.inverted()) for i in shown]
        assert not any(a is not b and a.overlaps(b) for a in boxes for b in boxes)
        for box in boxes:
            assert 0 <= box.x0 < box.x1 <= 1 and 0 <= box.y0 < box.y1 <= 1
        width = drawn.get_size_inches()[0] * 25.4
        assert width <= style.page_width_mm + 1e-6


def test_report_shows_images_and_both_controls(root):
    experiments = {
        name: {
            "dataset": "toy",
            "models": {m: {"family": "vae"} for m in fake.collect_config(faces)["models"]},
            "labels": {m: label_of(m) for m in fake.collect_config(faces)["models"]},
            "seeds": fake.SEEDS,
            "figures": fake.collect_config(faces)["figures"],
            "metrics": [],
        }
        for name, faces in (("classes", False), ("faces", True))
    }
    captions = {name: entry.caption for name, entry in FIGURES.items()}
    page = build(root, {"suite": "demo", "experiments": experiments, "captions": captions})
    assert page.count("data:image/png;base64,") == len(CASES)
    assert "β-VAE matched, scaled" in page and "Fréchet (classifier)" in page
    assert "the model is not conditional" in page
    assert page.count("† From fewer images than twice the number of features") == 1
    assert fake.FEW in page and re.search(r"\d \[[^]]*\] †", page)
