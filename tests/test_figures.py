"""Figures: the same bytes twice, nothing cut off, nothing on top of each other."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import fake_results as fake
import numpy as np
import pandas as pd
import pytest
from drawn_texts import check_apart, check_inside, texts
from matplotlib.figure import Figure
from matplotlib.text import Text

from t3vae.errors import ConfigError, DataError
from t3vae.figures.axes import thin_ticks
from t3vae.figures.history import history, limits
from t3vae.figures.style import Style
from t3vae.provenance.figure_metadata import read_provenance
from t3vae.runtime import layout
from t3vae.settings.figures import FIGURES
from t3vae.stages import collect, figure
from t3vae.tables import reads
from t3vae.tables.csv_files import read_table, write_table

MODELS = list(fake.STRETCH)
MANY = ["vae", "student_t_vae", "beta_vae_0p1", "beta_vae_0p5"] + [
    f"{stem}_nu{nu}" for stem in ("de_vae", "vae_st", "t3vae") for nu in (9, 12, 15, 18, 21)
]
CASES = [("univariate", name) for name in fake.FIGURES_1D]
CASES += [("bivariate", name) for name in fake.FIGURES_2D]
CASES += [("constants", name) for name in fake.FIGURES_THEORY]
WIDE = [("many", name) for name in fake.FIGURES_1D] + [("many_bivariate", "heatmaps")]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("figures")
    for name, dataset in (("univariate", fake.UNIVARIATE), ("bivariate", fake.BIVARIATE)):
        config = fake.collect_config(dataset)
        fake.write(folder, name, dataset, config)
        collect.run(folder, config, name)
    many = fake.collect_config(fake.UNIVARIATE, MANY) | {"seeds": [0, 1]}
    fake.write(folder, "many", fake.UNIVARIATE, many, samples=2000)
    collect.run(folder, many, "many")
    both = fake.collect_config(fake.BIVARIATE, MANY) | {"seeds": [0], "figures": ["heatmaps"]}
    fake.write(folder, "many_bivariate", fake.BIVARIATE, both, samples=2000)
    collect.run(folder, both, "many_bivariate")
    fake.constants(folder)
    job = {"dataset": "constants", "models": [], "figures": fake.FIGURES_THEORY}
    collect.run(folder, job, "constants")
    return folder


def config_of(experiment: str, name: str, **style: Any) -> dict[str, Any]:
    models = {"constants": []}.get(experiment, MANY if "many" in experiment else MODELS)
    return fake.figure_config(name, models, **style)


def draw(root: Path, experiment: str, name: str, **style: Any) -> Figure:
    """Return the figure itself, laid out."""
    tables = {
        table: read_table(layout.under(root, layout.table(experiment, table)))
        for table in reads(name)
    }
    module, _, function = FIGURES[name].code.partition(":")
    chosen = Style.of(config_of(experiment, name, **style))
    with chosen.applied():
        drawn: Figure = getattr(import_module(module), function)(tables, chosen)
        drawn.canvas.draw()
    return drawn


def output(root: Path, experiment: str, name: str) -> dict[str, bytes]:
    return {
        ending: layout.under(root, layout.figure(experiment, name, ending)).read_bytes()
        for ending in ("pdf", "png")
    }


@pytest.mark.parametrize(("experiment", "name"), CASES)
def test_two_drawings_have_the_same_bytes(root: Path, experiment: str, name: str) -> None:
    figure.run(root, config_of(experiment, name), experiment, name)
    first = output(root, experiment, name)
    figure.run(root, config_of(experiment, name), experiment, name)
    assert output(root, experiment, name) == first
    assert b"CreationDate" not in first["pdf"]
    for ending in first:
        made = read_provenance(layout.under(root, layout.figure(experiment, name, ending)))
        assert sorted(made["inputs"]) == sorted(layout.table(experiment, t) for t in reads(name))
        assert len(made["config"]) == len(made["sources"]) == 16


def test_another_process_draws_the_same_bytes(root: Path, tmp_path: Path) -> None:
    # another hash seed, another day, and a user's own matplotlib settings
    for name in ("metrics", "aggregate"):
        figure.run(root, config_of("univariate", name), "univariate", name)
    first = [output(root, "univariate", name) for name in ("metrics", "aggregate")]
    (tmp_path / "matplotlibrc").write_text("font.size: 20\naxes.facecolor: red\n")
    code = (
        "import sys; from pathlib import Path; import fake_results as f;"
        "from t3vae.stages import figure\n"
        "for n in ('metrics', 'aggregate'):\n"
        f"    figure.run(Path(sys.argv[1]), f.figure_config(n, {MODELS!r}), 'univariate', n)"
    )
    environment = os.environ | {
        "PYTHONHASHSEED": "123",
        "MATPLOTLIBRC": str(tmp_path),
        "SOURCE_DATE_EPOCH": "1000000000",
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]),
    }
    subprocess.run([sys.executable, "-c", code, str(root)], check=True, env=environment, timeout=60)
    assert [output(root, "univariate", name) for name in ("metrics", "aggregate")] == first


@pytest.mark.parametrize(("experiment", "name"), CASES + WIDE)
def test_fits_the_page_and_nothing_is_cut_or_covered(
    root: Path, experiment: str, name: str
) -> None:
    drawn = draw(root, experiment, name)
    size = 25.4 * drawn.get_size_inches()
    assert size[0] == pytest.approx(180.0 if "many" in experiment else 85.0)
    assert size[1] < 270.0
    written = [text for text in drawn.findobj(Text) if text.get_text().strip()]
    assert min(text.get_fontsize() for text in written) >= 7.0
    found = texts(drawn)
    assert len(found) > 5
    check_inside(drawn, found)
    check_apart(found)


def test_the_check_of_texts_can_fail(root: Path) -> None:
    drawn = draw(root, "constants", "regularizer")
    drawn.axes[0].annotate("too far right", (1.1, 0.5), xycoords="axes fraction")
    with pytest.raises(AssertionError, match="too far right"):
        check_inside(drawn, texts(drawn))


def test_tick_labels_that_would_touch_are_thinned() -> None:
    with Style().applied():
        drawn, grid = Style().panels(1, 2, 20.0)
        for axes in grid[0]:
            axes.set_xscale("symlog", linthresh=1e-3)
            axes.set_xlim(-5e-3, 0.12)
            axes.set_xticks([0.0, 1e-2, 2e-2, 1e-1], ["0", "0.01", "0.02", "0.1"])
        thin_ticks(grid[0, 1])
        drawn.canvas.draw()
    with pytest.raises(AssertionError, match="overlap"):
        check_apart([(t, box) for t, box in texts(drawn) if box.x1 < 0.5 * drawn.bbox.x1])
    check_apart([(t, box) for t, box in texts(drawn) if box.x0 > 0.5 * drawn.bbox.x1])
    axes = grid[0, 1]
    assert {0.0, 0.1} <= set(axes.get_xticks()) < {0.0, 1e-2, 2e-2, 1e-1}
    assert {1e-2, 2e-2} <= {*axes.get_xticks(), *axes.get_xticks(minor=True)}


def test_a_lone_peak_of_a_loss_is_marked_and_does_not_set_the_axis(root: Path) -> None:
    table = read_table(layout.under(root, layout.table("univariate", "history.csv")))
    calm = table["validation_total_mean"].max()
    row = table.index[(table["model"] == "vae") & (table["epoch"] == 40)]
    table.loc[row, ["validation_total_mean", "validation_total_maximum"]] = 4321.0
    style = Style.of(config_of("univariate", "history"))
    with style.applied():
        drawn = history({"history.csv": table}, style)
        drawn.canvas.draw()
    axes = drawn.axes[2]
    assert axes.get_ylim()[1] < 1.5 * calm
    carets = [line for line in axes.lines if line.get_marker() == "^"]
    assert [(line.get_xdata()[0], line.get_color()) for line in carets] == [
        (40, style.looks["vae"]["colour"])
    ]
    assert [text for text, _ in texts(drawn)].count("4320") == 1
    check_apart(texts(drawn))
    assert not [line for line in drawn.axes[0].lines if line.get_marker() in "^v"]


def test_limits_follow_a_real_rise() -> None:
    rise = pd.Series(np.linspace(0.0, 100.0, 60))
    assert limits([rise])[1] >= 100.0
    twice = rise.copy()
    twice[30] = twice[31] = 1e4
    assert 100.0 <= limits([twice])[1] < 200.0
    assert limits([pd.Series([2.0, 2.0, 2.0])]) == (1.0, 3.0)


def test_larger_text_still_fits(root: Path) -> None:
    for name in ("metrics", "survival"):
        drawn = draw(root, "univariate", name, font_size=10.0, column_width_mm=120.0)
        check_inside(drawn, texts(drawn))


def test_another_colour_of_a_model_changes_the_image(root: Path) -> None:
    config = config_of("univariate", "survival")
    figure.run(root, config, "univariate", "survival")
    first = output(root, "univariate", "survival")["png"]
    config["looks"]["vae"]["colour"] = "#123456"
    figure.run(root, config, "univariate", "survival")
    assert output(root, "univariate", "survival")["png"] != first


def test_a_value_that_is_missing_is_said(root: Path) -> None:
    shown = [text for text, _ in texts(draw(root, "univariate", "metrics"))]
    assert shown.count("no value") == 1


def test_unknown_figures_and_missing_tables_are_said(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="survival"):
        figure.run(root, config_of("univariate", "nonsense"), "univariate", "nonsense")
    with pytest.raises(DataError, match="t3vae collect"):
        figure.run(tmp_path, config_of("univariate", "density"), "univariate", "density")


def test_provenance_of_a_foreign_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 30)
    with pytest.raises(DataError, match="no provenance"):
        read_provenance(tmp_path / "a.png")
    with pytest.raises(DataError, match="cannot be read"):
        read_provenance(tmp_path / "absent.pdf")


def test_a_model_without_any_value_does_not_stop_a_figure(root: Path, tmp_path: Path) -> None:
    frame = read_table(layout.under(root, layout.table("univariate", "metrics.csv")))
    frame.loc[frame["metric"] == "ks", ["mean", "ci_low", "ci_high"]] = np.nan
    write_table(layout.under(tmp_path, layout.table("univariate", "metrics.csv")), frame)
    figure.run(tmp_path, config_of("univariate", "metrics"), "univariate", "metrics")
    assert output(tmp_path, "univariate", "metrics")["png"]
