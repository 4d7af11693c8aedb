"""Looks of models: in no panel that the workflow draws can two be taken for each other."""

from __future__ import annotations

import json
from importlib import import_module
from itertools import combinations
from pathlib import Path
from typing import Any

import fake_images
import fake_results
import matplotlib.colors as mcolors
import numpy as np
import pandas as pd
import pytest
from family_examples import examples
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from t3vae.errors import ConfigError
from t3vae.figures.style import LATENT_COLOURS, LINES, Style
from t3vae.runtime import layout
from t3vae.settings import parameters
from t3vae.settings.families import FAMILIES
from t3vae.settings.figures import FIGURES
from t3vae.settings.looks import Line, Marker, looks
from t3vae.stages import collect
from t3vae.tables import reads
from t3vae.tables.csv_files import read_table
from t3vae.workflow import jobs

THRESHOLD = 0.1
PARAMS = parameters.load(Path(__file__).parents[1] / "params.yaml")
EXPERIMENTS = [name for name, entry in PARAMS.experiments.items() if entry.models]
TOGETHER = ("survival", "tail_qq")  # all models in every panel
GRIDS = ("samples", "reconstructions")  # of images, without a curve
DRAWN = {  # figures of one kind of the same models look alike
    (tuple(PARAMS.experiments[e].models), name): (e, name)
    for e in EXPERIMENTS
    for name in PARAMS.experiments[e].figures
    if name not in GRIDS
}.values()

Look = tuple[str, Any, str]  # colour, marker, dashes


def distance(a: str, b: str, *, blind: bool = True) -> float:
    """Return the distance of two colours, the smaller one for normal vision and deuteranopia."""
    # Viénot, Brettel and Mollon 1999, in linear RGB
    deuteranope = np.array([[0.292, 0.708, 0.0], [0.292, 0.708, 0.0], [-0.022, 0.022, 1.0]])
    x, y = (np.array(mcolors.to_rgb(c)) ** 2.2 for c in (a, b))
    seen = [np.linalg.norm(x - y), np.linalg.norm(deuteranope @ (x - y))]
    return float(min(seen) if blind else seen[0])


def told_apart(a: Look, b: Look) -> bool:
    return a[1:] != b[1:] or distance(a[0], b[0]) >= THRESHOLD


def look_of(line: Line2D) -> Look:
    return line.get_color(), line.get_marker(), str(line._unscaled_dash_pattern)


def config(experiment: str, name: str) -> dict[str, Any]:
    return jobs.config("figure", PARAMS, experiment, name)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("looks")
    for columns, dataset in ((1, fake_results.UNIVARIATE), (2, fake_results.BIVARIATE)):
        job = fake_results.collect_config(dataset, ["vae", "t3vae_nu9"]) | {"seeds": [0]}
        fake_results.write(folder, f"columns_{columns}", dataset, job)
        collect.run(folder, job, f"columns_{columns}")
    for faces in (True, False):
        job = fake_images.collect_config(faces) | {"seeds": [0, 1]}
        job["figures"] = [*job["figures"], "aggregate"]
        fake_images.write(folder, f"images_{faces}", job, faces)
        collect.run(folder, job, f"images_{faces}")
    return folder


def draw(root: Path, experiment: str, name: str) -> Figure:
    """Return a figure from made-up tables, in which all models have the results of one."""
    entry = PARAMS.experiments[experiment]
    if jobs.of_images(PARAMS, entry.dataset):
        made, model = f"images_{name == 'attributes'}", "t3vae_nu10"
    else:
        made, model = f"columns_{2 if 'bivariate' in entry.dataset else 1}", "t3vae_nu9"
    tables = {}
    for table in reads(name):
        rows = read_table(layout.under(root, layout.table(made, table)))
        if table == "heatmaps.csv":
            for latent in entry.latents:
                copies = {f"{m}:{latent}": rows[f"{model}:{latent}"] for m in entry.models}
                rows = rows.assign(**copies)
        elif table == "paired.csv":
            rows = rows[rows["model"] == model].drop_duplicates(["metric", "latent", "group"])
            pairs = [
                (m, control)
                for m in entry.models
                for control in (entry.controls or {}).get(m, [entry.control])
                if m != control
            ]
            rows = pd.concat([rows.assign(model=m, control=c) for m, c in pairs])
        else:
            kept = [rows[rows["model"] == "truth"]]
            one = rows[rows["model"] == model]
            rows = pd.concat([*kept, *(one.assign(model=m) for m in entry.models)])
        tables[table] = rows.reset_index(drop=True)
    module, _, function = FIGURES[name].code.partition(":")
    style = Style.of(config(experiment, name))
    with style.applied():
        drawn: Figure = getattr(import_module(module), function)(tables, style)
    return drawn


def models_of(axes: Axes) -> dict[str, Look]:
    """Return the models that have a curve in a panel, and what it looks like."""
    curves = [line for line in axes.lines if line.get_gid() and line.get_marker() != "None"]
    return {str(c.get_gid()): look_of(c) for c in curves if c.get_linestyle() != "None"}


@pytest.mark.parametrize(("experiment", "name"), DRAWN)
def test_models_in_one_panel_are_told_apart(root: Path, experiment: str, name: str) -> None:
    models = PARAMS.experiments[experiment].models
    chosen = config(experiment, name)["looks"]
    drawn = draw(root, experiment, name)
    panels = [axes for axes in drawn.axes if axes.get_visible()]
    shown = [models_of(axes) for axes in panels]
    for found in shown:
        assert {m: (c, k) for m, (c, k, _) in found.items()} == {
            m: (chosen[m]["colour"], chosen[m]["marker"]) for m in found
        }
        for a, b in combinations(found, 2):
            assert told_apart(found[a], found[b]), (a, b)
    if name in TOGETHER or (name == "history" and len(models) <= 10):
        assert all(set(found) == set(models) for found in shown) and shown
    elif name == "class_curves":
        counts = [len(legend.get_texts()) for legend in drawn.legends]
        assert [len(found) for found in shown[: len(counts)]] == counts and max(counts) > 1
    else:
        assert not any(shown)
    colours = {mcolors.to_hex(line.get_color()) for axes in panels for line in axes.lines}
    other = LATENT_COLOURS.values() if any(shown) else (look["colour"] for look in chosen.values())
    assert not colours & {mcolors.to_hex(colour) for colour in other} - {"#000000"}
    entries = {
        text.get_text().replace("\n", " "): look_of(handle)
        for legend in drawn.legends
        for text, handle in zip(legend.get_texts(), legend.legend_handles, strict=True)
        if isinstance(handle, Line2D)
    }
    for found in shown:
        assert found.items() <= {m: entries.get(chosen[m]["label"]) for m in models}.items()


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_no_model_has_the_colour_of_another_or_of_a_latent_distribution(experiment: str) -> None:
    found = config(experiment, PARAMS.experiments[experiment].figures[0])["looks"]
    pairs = list(combinations([look["colour"] for look in found.values()], 2))
    pairs += [(look["colour"], c) for look in found.values() for c in LATENT_COLOURS.values()]
    assert min(distance(a, b, blind=False) for a, b in pairs) >= THRESHOLD


@pytest.mark.parametrize("experiment", ["univariate", "bivariate"])
def test_colours_alone_differ_in_the_figures_of_the_readme(experiment: str) -> None:
    found = config(experiment, "survival")["looks"]
    for a, b in combinations(found, 2):
        assert distance(found[a]["colour"], found[b]["colour"]) >= THRESHOLD, (a, b)
    for a, b in combinations(list(LATENT_COLOURS)[:5], 2):
        assert distance(LATENT_COLOURS[a], LATENT_COLOURS[b]) >= THRESHOLD, (a, b)


def family(name: str, *nus: float) -> dict[str, dict[str, Any]]:
    return {f"{name}_{nu}": {"family": name, "nu": nu} for nu in nus}


def lightness(colour: str) -> float:
    return float(np.array(mcolors.to_rgb(colour)) ** 2.2 @ [0.2126, 0.7152, 0.0722])


def test_lightness_follows_the_parameter_and_the_marker_the_family() -> None:
    found = looks(family("t3vae", 21.0, 5.0, 9.0))
    order = sorted(found, key=lambda name: lightness(found[name]["colour"]))
    assert order == ["t3vae_5.0", "t3vae_9.0", "t3vae_21.0"]
    assert {look["marker"] for look in found.values()} == {FAMILIES["t3vae"].marker}
    assert len({look["line"] for look in found.values()}) == 3


def test_controls_come_after_the_plain_models_and_by_nu() -> None:
    names = ["beta_vae_matched_scaled", "beta_vae_matched", "beta_vae_matched_nu2p5", "vae"]
    given = {name: PARAMS.models[name].model_dump(mode="json") for name in names}
    found = looks(given)
    order = sorted(found, key=lambda name: lightness(found[name]["colour"]))
    assert order == ["vae", "beta_vae_matched_nu2p5", "beta_vae_matched", "beta_vae_matched_scaled"]


def test_another_family_changes_no_look() -> None:
    given = family("t3vae", 5.0, 9.0) | {"own": {"family": "mine:Own"}}
    before = looks(given)
    after = looks({"vae": {"family": "vae"}, **given, "more": {"family": "mine:More"}})
    assert {name: after[name] for name in before} == before


def test_any_experiment_has_looks_that_are_told_apart() -> None:
    every = {name: {"family": name, **examples(name)[0]} for name in FAMILIES}
    custom = {f"own_{k}": {"family": f"mine:Own{k}"} for k in range(4)}
    sweeps = [
        {m: {**every.get(name, {}), **given} for m, given in family(name, *range(3, 28)).items()}
        for name in (*FAMILIES, "mine:Own")
    ]
    for given in [every | custom, *sweeps]:
        found = {m: (x["colour"], x["marker"], x["line"]) for m, x in looks(given).items()}
        assert list(found) == list(given)
        for a, b in combinations(found, 2):
            assert told_apart(found[a], found[b]), (a, b)


def test_markers_and_lines_are_those_that_can_be_drawn() -> None:
    assert set(LINES) == set(Line.__args__)
    assert (
        {entry.marker for entry in FAMILIES.values()} <= set(Marker.__args__) <= {*Line2D.markers}
    )
    assert len({entry.marker for entry in FAMILIES.values()}) == len(FAMILIES)


def test_a_chosen_colour_replaces_that_of_the_family() -> None:
    chosen = PARAMS.figures.model_copy(update={"colours": {"vae": "#AA1133", "hvae": "#000001"}})
    params = PARAMS.model_copy(update={"figures": chosen})
    before, after = (
        jobs.config("figure", p, "univariate", "survival")["looks"] for p in (PARAMS, params)
    )
    assert after["vae"] == before["vae"] | {"colour": "#aa1133"}
    assert {**after, "vae": None} == {**before, "vae": None}


def test_a_configuration_without_the_look_of_a_model_is_refused() -> None:
    given = config("univariate", "survival")
    del given["looks"]["vae"]
    with pytest.raises(ConfigError, match=r"looks\.vae: is missing"):
        jobs.parse("figure", json.dumps(given))
