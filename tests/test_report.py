"""The report: one file, no request, and words that follow from the numbers."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import browser
import fake_results as fake
import pandas as pd
import pytest

from t3vae.errors import DataError
from t3vae.report.number_format import number
from t3vae.report.verdict import verdict
from t3vae.runtime import files, layout
from t3vae.settings import figures as catalogue
from t3vae.stages import collect, figure, report

FIGURES = ["metrics", "aggregate"]
CONFIG: dict[str, Any] = {
    "suite": "demo",
    "captions": {n: catalogue.FIGURES[n].caption for n in ("regularizer", "history", *FIGURES)},
    "experiments": {
        "constants": {
            "dataset": "constants",
            "models": {},
            "labels": {},
            "seeds": [],
            "figures": ["regularizer"],
            "metrics": [],
        },
        "toy": {
            "dataset": "toy",
            "models": {
                "vae": {"family": "vae", "beta": 1.0, "nu": None},
                "t3vae_nu5": {"family": "t3vae", "nu": 5.0},
            },
            "labels": {"vae": "VAE", "t3vae_nu5": "t³VAE, ν = 5"},
            "seeds": [0, 1, 2],
            "figures": FIGURES,
            "metrics": ["ks"],
        },
    },
}
VOID = {"meta", "link", "img", "br"}


class Page(HTMLParser):
    """Collects elements and texts, and checks that every element is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    models = ["vae", "t3vae_nu5"]
    config = fake.collect_config(fake.UNIVARIATE, models) | {"figures": FIGURES}
    fake.write(folder, "toy", fake.UNIVARIATE, config, samples=1000)
    collect.run(folder, config, "toy")
    for name in FIGURES:
        figure.run(folder, fake.figure_config(name, models), "toy", name)
    fake.constants(folder)
    job = {"dataset": "constants", "models": [], "figures": ["regularizer"]}
    collect.run(folder, job, "constants")
    figure.run(folder, fake.figure_config("regularizer", []), "constants", "regularizer")
    report.run(folder, CONFIG)
    return folder


@pytest.fixture(scope="module")
def text(root: Path) -> str:
    return layout.under(root, layout.report()).read_text("utf-8")


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def test_nothing_is_loaded_from_anywhere(text: str, page: Page) -> None:
    assert text.startswith("<!DOCTYPE html>")
    forbidden = {"script", "iframe", "object", "embed", "video", "audio", "base", "form"}
    assert not forbidden & {tag for tag, _ in page.elements}
    assert page.all("link") == [{"rel": "icon", "href": "data:,"}]
    for tag, attributes in page.elements:
        for name in ("src", "srcset", "href", "action", "poster", "background"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:")), (tag, name, value)
        assert not any(name.startswith("on") for name in attributes)
    style = re.search(r"<style>(.*?)</style>", text, flags=re.DOTALL)
    assert style is not None
    assert "url(" not in style[1] and "@import" not in style[1]


def test_links_inside_the_page_lead_somewhere(page: Page) -> None:
    names = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(names) == len(set(names))
    for link in page.all("a"):
        assert link["href"] is not None and link["href"].removeprefix("#") in names


def test_figures_are_the_files_with_captions(root: Path, page: Page) -> None:
    images = page.all("img")
    shown = [("constants", "regularizer"), ("toy", "metrics"), ("toy", "aggregate")]
    assert len(images) == len(shown)
    for image, (experiment, name) in zip(images, shown, strict=True):
        content = layout.under(root, layout.figure(experiment, name, "png")).read_bytes()
        assert image["src"] == "data:image/png;base64," + base64.b64encode(content).decode()
        assert image["alt"]
        assert catalogue.FIGURES[name].caption in page.text
        assert f"t3vae figure --experiment {experiment} --name {name}" in page.text


def test_what_was_run_is_there(page: Page) -> None:
    for needed in (
        "training seeds 0, 1, 2",
        "t³VAE, ν = 5",
        "t3vae_nu5",
        "nu = 5",
        "beta = 1",
        "60–70",  # epochs
        "2.14.1",  # version of torch
        "make figures",
        "no draw beyond the threshold 6",
        "true distribution",
    ):
        assert needed in page.text, needed


def test_headline_table_shows_means_with_intervals(root: Path, page: Page) -> None:
    frame = pd.read_csv(layout.under(root, layout.table("toy", "metrics.csv")))
    row = frame[
        (frame["model"] == "vae") & (frame["metric"] == "ks") & (frame["latent"] == "prior")
    ].iloc[0]
    cell = f"{number(row['mean'])} [{number(row['ci_low'])}, {number(row['ci_high'])}]"
    assert cell in page.text


def test_the_page_is_reproducible_and_says_what_made_it(root: Path, text: str, page: Page) -> None:
    report.run(root, CONFIG)
    assert layout.under(root, layout.report()).read_text("utf-8") == text
    made = next(m for m in page.all("meta") if m.get("name") == "t3vae:provenance")
    assert layout.table("toy", "metrics.csv") in str(made["content"])


def test_names_are_escaped(root: Path) -> None:
    config = CONFIG | {"suite": "<script>alert(1)</script>"}
    report.run(root, config)
    changed = layout.under(root, layout.report()).read_text("utf-8")
    report.run(root, CONFIG)
    assert "<script>" not in changed and "&lt;script&gt;" in changed


def test_a_missing_figure_says_how_to_make_it(root: Path) -> None:
    toy = CONFIG["experiments"]["toy"] | {"figures": ["history"]}
    with pytest.raises(DataError, match="t3vae figure --experiment toy --name history"):
        report.run(root, CONFIG | {"experiments": {"toy": toy}})


def test_a_missing_table_stops_the_report(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"provenance\.json"):
        report.run(tmp_path, CONFIG)
    assert not layout.under(tmp_path, layout.report()).exists()


# --- verdict ------------------------------------------------------------------------------


def _tables(
    prior: dict[str, float], fitted: dict[str, float], metric: str = "ks", mass: float = 1.05
) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows, distances = [], []
    for latent, values in (("prior", prior), ("fitted", fitted)):
        for model, value in values.items():
            rows.append((model, metric, latent, "all", value))
            distances.append((model, latent, value))
            ratio = mass if latent == "fitted" else 4.0
            rows += [
                (model, "tail_mass_ratio", latent, f"{t}_tail", ratio) for t in ("left", "right")
            ]
    columns = ["model", "metric", "latent", "group", "mean"]
    return pd.DataFrame(rows, columns=columns), pd.DataFrame(
        distances, columns=["model", "latent", "mean"]
    )


def test_verdict_when_the_mismatch_decides() -> None:
    words = " ".join(
        verdict(
            *_tables({"VAE": 0.02, "t³VAE, ν = 5": 0.13}, {"VAE": 0.002, "t³VAE, ν = 5": 0.003})
        )
    )
    assert "between 0.02 (VAE) and 0.13 (t³VAE, ν = 5)" in words
    assert "closer for 2 of 2 models" in words
    assert "rank correlation 1.00" in words
    assert "So what decides is the mismatch" in words
    assert "Reached by 2 of 2 models." in words


def test_verdict_when_it_does_not() -> None:
    words = " ".join(
        verdict(*_tables({"VAE": 0.02, "t³VAE, ν = 5": 0.01}, {"VAE": 0.05, "t³VAE, ν = 5": 0.06}))
    )
    assert "does not decide" in words
    assert "Reached by 0 of 2 models; missed by VAE; t³VAE, ν = 5." in words


def test_a_model_without_a_tail_mass_has_not_missed_the_goal() -> None:
    tables = _tables({"VAE": 0.02, "t³VAE": 0.1}, {"VAE": 0.002, "t³VAE": 0.003})
    chosen = (tables[0]["model"] == "VAE") & (tables[0]["group"] == "left_tail")
    tables[0].loc[chosen, "mean"] = float("nan")
    words = " ".join(verdict(*tables))
    assert "Reached by 1 of 2 models; without a tail mass: VAE." in words
    assert "missed" not in words and "nan" not in words


def test_verdict_with_an_exception() -> None:
    priors = {"VAE": 0.02, "t³VAE, ν = 5": 0.1, "t³VAE, ν = 9": 0.2}
    words = " ".join(
        verdict(*_tables(priors, {"VAE": 0.03, "t³VAE, ν = 5": 0.01, "t³VAE, ν = 9": 0.02}))
    )
    assert "Not so for VAE." in words


def test_the_goal_needs_both_tails() -> None:
    words = " ".join(verdict(*_tables({"VAE": 0.02}, {"VAE": 0.002}, mass=1.3)))
    assert "Reached by 0 of 1 models" in words


def test_verdict_uses_another_distance_or_says_nothing() -> None:
    words = " ".join(verdict(*_tables({"VAE": 0.02}, {"VAE": 0.001}, metric="mmd")))
    assert "maximum mean discrepancy" in words and "Goal" not in words
    assert verdict(*_tables({"VAE": 0.02}, {"VAE": 0.001}, metric="ksd")) == []


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0, "0"), (-2.05678, "−2.057"), (123456.0, "123500"), (-3e-9, "−3.00e-09")],
)
def test_numbers(value: float, shown: str) -> None:
    assert number(value) == shown


def test_metrics_of_a_run_are_not_needed(root: Path) -> None:
    # the report reads tables and figures only
    for kind in ("runs", "samples", "metrics"):
        folder = layout.under(root, f"results/{kind}")
        folder.rename(folder.with_name(f"{kind}_away"))
    report.run(root, CONFIG)
    assert files.read_json(layout.under(root, layout.table("toy", "provenance.json")))


@pytest.mark.skipif(browser.BROWSER is None, reason="no chromium on this machine")
def test_a_browser_asks_for_nothing_else_and_complains_about_nothing(
    root: Path, tmp_path: Path
) -> None:
    page = layout.under(root, layout.report())
    asked, complaints = browser.visit(page, tmp_path / "profile", tmp_path / "page.png")
    assert asked == ["/report.html"]
    assert complaints == []
    assert (tmp_path / "page.png").stat().st_size > 10_000


@pytest.mark.skipif(browser.BROWSER is None, reason="no chromium on this machine")
def test_a_request_and_a_complaint_would_be_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<img src='missing.png'><script>console.error('so')</script>")
    asked, complaints = browser.visit(page, tmp_path / "profile", tmp_path / "page.png")
    assert "/missing.png" in asked
    assert any("so" in line for line in complaints)
