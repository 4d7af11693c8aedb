"""The catalogue: every entry has code that fits it, and an entry changes the jobs that show it."""

from __future__ import annotations

import inspect
from dataclasses import replace

import pytest

from t3vae import datasets, metrics, models, networks
from t3vae.errors import ConfigError
from t3vae.maths import mixtures
from t3vae.provenance import closure, digests
from t3vae.settings import catalogue
from t3vae.settings.catalogue import IMAGE
from t3vae.settings.config import LatentFit
from t3vae.settings.families import FAMILIES, NETWORKS
from t3vae.settings.figures import FIGURES
from t3vae.settings.metrics import EXTRACTORS, METRICS, Evaluation, extractors
from t3vae.settings.sources import SOURCES, source_of

TABLES = {
    "family": FAMILIES,
    "network kind": NETWORKS,
    "source": SOURCES,
    "metric": METRICS,
    "figure": FIGURES,
    "extractor": EXTRACTORS,
}
ENTRIES = [(what, name) for what, table in TABLES.items() for name in table]


@pytest.mark.parametrize(("what", "name"), ENTRIES)
def test_code_of_every_entry_can_be_loaded(what, name):
    assert callable(catalogue.load(TABLES[what], name, what))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_what_its_entry_says(name):
    family = models.model_class(name)
    assert family.conditional == FAMILIES[name].conditional
    assert FAMILIES[name].options.model_fields["family"].annotation.__args__ == (name,)


@pytest.mark.parametrize("name", SOURCES)
def test_a_source_is_what_its_entry_says(name):
    assert SOURCES[name].options.model_fields["source"].annotation.__args__ == (name,)
    files = SOURCES[name].array_files
    assert files == datasets.names({"source": name}) and len(files) == len(set(files))
    assert any("labels" in file for file in files) == SOURCES[name].labelled


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_has_options_a_label_and_a_direction(name):
    metric = METRICS[name]
    assert metric.label and metric.better in ("lower", "higher", "one", "none")
    assert metric.of in ("samples", "features", "latent", "model")
    assert name in Evaluation.model_fields
    assert metric.fits(IMAGE) or metric.fits(1)
    if metric.of == "features":
        assert metric.data == "images" and len(extractors([name], {})) == 1
        assert {*extractors([name], {})} <= {*EXTRACTORS}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_has_a_caption_and_data_to_show(name):
    figure = FIGURES[name]
    assert len(figure.caption) > 80 and figure.tables
    assert any(figure.fits(columns) for columns in (None, 1, 2, 20, IMAGE))


def test_numbers_stand_in_one_place():
    """Defaults of a function that is called with settings are those that are declared."""
    fit = inspect.signature(mixtures.fit_t_mixture).parameters
    assert {n: fit[n].default for n in LatentFit.model_fields} == LatentFit().model_dump()
    for shape, kind in (([4], "mlp"), ([3, 32, 32], "cnn")):
        default = networks.default(shape)
        assert NETWORKS[kind].options.model_validate(default).model_dump(mode="json") == default


def test_an_unknown_name_is_refused_with_what_there_is():
    with pytest.raises(
        ConfigError, match=r"metric 'kss': must be one of .*mmd_linear, .* import path"
    ):
        catalogue.load(METRICS, "kss", "metric")
    with pytest.raises(ConfigError, match=r"cannot be imported .* PYTHONPATH"):
        catalogue.load(FAMILIES, "no_such_module:Thing", "family")
    with pytest.raises(Exception, match="no such metric"):
        metrics.evaluate("kss", None, None, {}, None)


def test_a_source_of_numbers_or_images_may_be_imported():
    assert source_of({"source": "mine:build"}).columns == 1
    assert source_of({"source": "mine:build", "columns": 7}).array_files[0] == "train.npy"
    images = source_of({"source": "mine:read", "rows": "images", "labelled": True})
    assert images.columns == IMAGE and "train_labels.npy" in images.array_files
    assert source_of({"source": "nonsense"}) is None


# --- what an entry changes ------------------------------------------------------------------


def test_modules_outside_the_digests_exist():
    for name in closure.OUTSIDE:
        assert closure._find(name) is not None, name


VAE = {"model": {"family": "vae"}, "network": {"kind": "mlp"}}


def code() -> list[str]:
    """Digests of the code of one training, one evaluation and one figure."""
    digests._digest_of_start.cache_clear()
    return [
        digests.source_digest("train", VAE),
        digests.source_digest("evaluate", {"metrics": ["ks"]}, [VAE, {"source": "t_mixture_1d"}]),
        digests.source_digest("figure", {"name": "survival"}),
    ]


def test_labels_hues_options_and_new_entries_change_no_code(monkeypatch):
    before = code()
    monkeypatch.setitem(FAMILIES, "vae", replace(FAMILIES["vae"], hue=1.0, label="another"))
    monkeypatch.setitem(FAMILIES, "new", replace(FAMILIES["t3vae"], code="t3vae.models.new:New"))
    monkeypatch.setitem(METRICS, "ks", replace(METRICS["ks"], label="another", better="none"))
    monkeypatch.setitem(FIGURES, "survival", replace(FIGURES["survival"], caption="Another."))
    monkeypatch.setitem(SOURCES, "t_mixture_1d", replace(SOURCES["t_mixture_1d"], size=(1, 1)))
    assert code() == before


@pytest.mark.parametrize(
    ("table", "name", "other", "changed"),
    [
        (FAMILIES, "vae", "t3vae.models.t3vae:T3VAE", [True, True, False]),
        (NETWORKS, "mlp", "t3vae.networks.cnn:build", [True, True, False]),
        (SOURCES, "t_mixture_1d", "t3vae.datasets.bivariate:build", [False, True, False]),
        (METRICS, "ks", "t3vae.metrics.goodness:anderson_darling_entries", [False, True, False]),
        (FIGURES, "survival", "t3vae.figures.tails:tail_qq", [False, False, True]),
    ],
)
def test_code_of_an_entry_changes_the_jobs_that_name_it(monkeypatch, table, name, other, changed):
    before = code()
    monkeypatch.setitem(table, name, replace(table[name], code=other))
    assert [a != b for a, b in zip(before, code(), strict=True)] == changed
