"""Every family from training to figures at latent and data dimensions of one and of many.

One experiment for each kind of data: the models of it are the families, each at every m.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import children
import model_looks
import numpy as np
import pytest
import torch
from fake_images import images
from family_examples import examples

import t3vae
from t3vae.models import build
from t3vae.provenance.digests import digest
from t3vae.runtime import files, layout
from t3vae.settings.catalogue import IMAGE
from t3vae.settings.families import FAMILIES
from t3vae.settings.figures import FIGURES
from t3vae.settings.metrics import METRICS
from t3vae.stages import collect, evaluate, extractor, figure, prepare, sample, train
from t3vae.tables.csv_files import read_table

DIMENSIONS = (1, 2, 8)
SHAPES: dict[str, tuple[int, ...]] = {
    "numbers_1": (1,),
    "numbers_2": (2,),
    "numbers_20": (20,),
    "images_cnn": (1, 8, 8),
    "images_mlp": (1, 8, 8),
}
SHOWN = ["vae_1", "t3vae_2", "t3hvae_8", "c_t3vae_8"]  # in figures, which take the longest
ROWS = 120


def base() -> dict[str, dict[str, Any]]:
    """The tiny experiment of the children, smaller still."""
    configs = children.tiny_configs({"family": "vae"})
    configs["train"]["training"].update(epochs=2, batch_size=60)
    fit = {"points": 60, "max_components": 1, "iterations": 3}
    sizes = {"samples": 60, "aggregate": 60, "reconstructions": 30}
    configs["sample"]["sampling"].update(sizes)
    configs["sample"]["sampling"]["fit"].update(fit)
    configs["evaluate"]["evaluation"] = {
        "threshold": 3.0,
        "confidence": 0.95,
        "mmd_linear": {"points": 60, "permutations": 19, "null_distribution": "sign_flip"},
        "mmd": {"points": 60, "permutations": 19, "bandwidth_points": 30},
        "ksd": {"points": 60, "c": 1.0, "beta": -0.5},
        "tail_quantile_error": {"levels": [0.1]},
        "hill": {"fraction": 0.2, "steps": 2},
        "expected_shortfall": {"levels": [0.1]},
        "log_likelihood": {"points": 10, "samples": 8},
        "kid": {"features": "classifier", "subset_size": 10, "subsets": 2},
        **{
            name: {"features": "classifier", "neighbours": 3, "points": 60}
            for name in ("precision", "recall", "density", "coverage")
        },
        "active_units": {"points": 30},
    }
    return configs


def prepared(root: Path, kind: str) -> None:
    """Write a data set: of a known distribution, or made-up rows with a class each."""
    configs = base()
    shape = SHAPES[kind]
    if kind == "numbers_1":
        config = configs["prepare"] | {"train": ROWS, "validation": ROWS, "test": ROWS}
        prepare.run(root, config, "toy")
        children.add_classes(root)
        return
    rng = np.random.default_rng(5)
    arrays: dict[str, np.ndarray] = {}
    for i, split in enumerate(("train", "validation", "test")):
        labels = np.arange(ROWS) % 2
        if kind.startswith("images"):
            rows = images(labels, *shape[:2], seed=i)
        else:
            rows = (rng.standard_t(5, (ROWS, *shape)) + labels[:, None]).astype(np.float32)
        arrays |= {f"{split}.npy": rows, f"{split}_labels.npy": labels}
    for name, array in arrays.items():
        files.write_npy(layout.under(root, layout.prepared("toy", name)), array)
    config = {"dataset": "toy", "source": "digits"}
    manifest = {
        "dataset": "toy",
        "config": config,
        "arrays": {
            name: {"sha256": hashlib.sha256(array.tobytes()).hexdigest()}
            for name, array in arrays.items()
        },
        "tail_index": [None],
        "classes": ["even", "odd"],
        "groups": {"head": [0], "tail": [1]},
        "class_counts": {"train": [60, 60], "test": [60, 60]},
        "provenance": {"config": digest(config)},
    }
    files.write_json(layout.under(root, layout.manifest("toy")), manifest)


def run_all(root: Path, kind: str) -> None:
    """Run every stage of the experiment ``kind`` in this process."""
    prepared(root, kind)
    configs, of_images = base(), kind.startswith("images")
    if of_images:
        settings = {
            "width": 2,
            "features": 6,
            "epochs": 1,
            "batch_size": 60,
            "learning_rate": 5e-3,
            "weight_decay": 1e-3,
            "seed": 0,
        }
        extractor.run(root, {"dataset": "toy", "extractor": settings}, "toy")
        configs["evaluate"]["extractors"] = {"classifier": settings}
    columns = IMAGE if of_images else SHAPES[kind][0]
    names = [name for name, metric in METRICS.items() if metric.fits(columns) and name != "fid"]
    figures = [n for n, entry in FIGURES.items() if entry.fits(columns) and n != "attributes"]
    configs["evaluate"]["metrics"] = configs["collect"]["metrics"] = names
    if kind == "images_cnn":
        configs["train"]["network"] = {"kind": "cnn", "channels": [4, 8], "width": 1.0}
    for model, (family, m) in models().items():
        own = {**configs["train"], "model": {"family": family, **examples(family)[0]}}
        run = (kind, model, 0)
        train.run(root, own | {"latent_dim": m}, *run)
        sample.run(root, configs["sample"], *run)
        evaluate.run(root, configs["evaluate"], *run)
    whole = {
        **configs["collect"],
        "models": list(models()),
        "families": {model: family for model, (family, _) in models().items()},
        "control": "vae_1",
        "figures": figures,
        "images": of_images,
    }
    collect.run(root, whole, kind)
    for name in figures:
        shown = {"models": SHOWN, "looks": model_looks.of(SHOWN), "name": name}
        figure.run(root, {**configs["figure"], **shown}, kind, name)


def models() -> dict[str, tuple[str, int]]:
    """Every family at every latent dimension, by name."""
    return {f"{family}_{m}": (family, m) for family in FAMILIES for m in DIMENSIONS}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the folder of an experiment; it is run when first asked for."""
    made: dict[str, Path] = {}

    def of(kind: str) -> Path:
        if kind not in made:
            made[kind] = tmp_path_factory.mktemp(kind)
            run_all(made[kind], kind)
        return made[kind]

    return of


EXPECTED = (  # why a number may be missing: the sizes are tiny
    "points: at least 2 of each are needed",
    "reaches values that are not positive",
    "the largest values are all equal",
    "has no bandwidth",
    "the score of the data's distribution is not known",
    "are needed",
    "its samples have no class that they should show",
    "a class was neither drawn nor seen",
    "a regularizer of two levels has a factor for each",
    "no test point lies in the",
)


@pytest.mark.parametrize("kind", SHAPES)
def test_every_family_runs_at_every_size(results, kind):
    root = results(kind)
    table = read_table(layout.under(root, layout.table(kind, "metrics.csv")))
    missing = read_table(layout.under(root, layout.table(kind, "missing.csv")))
    mismatch = read_table(layout.under(root, layout.table(kind, "latent_mismatch.csv")))
    assert set(table["model"]) == set(mismatch["model"]) == set(models())
    unexpected = [r for r in missing["reason"] if not any(text in r for text in EXPECTED)]
    assert unexpected == []
    whole = "reconstruction_error" if kind.startswith("images") else "log_likelihood"
    assert table.loc[table["metric"] == whole, "mean"].notna().all()
    drawn = layout.under(root, layout.figure(kind, "history", "png")).parent.glob("*.png")
    names = {path.stem for path in drawn}
    assert {"history", "metrics", "aggregate"} <= names
    assert ("samples" in names) == kind.startswith("images")


@pytest.mark.parametrize("kind", ["numbers_1", "numbers_2", "numbers_20"])
def test_likelihoods_are_of_every_latent_distribution(results, kind):
    table = read_table(layout.under(results(kind), layout.table(kind, "metrics.csv")))
    found = table[table["metric"] == "log_likelihood"]
    for model, (family, _) in models().items():
        latents = set(found.loc[found["model"] == model, "latent"])
        assert {"prior", "fitted"} <= latents
        if family in ("t3vae", "t3hvae", "c_t3vae"):
            assert "alternative" in latents


@pytest.mark.parametrize("m", DIMENSIONS)
@pytest.mark.parametrize("n", [1, 2, 20])
def test_importance_weights_give_the_exact_likelihood_of_a_linear_model(n, m):
    """z ~ N(0, I), x = Wz + b + sigma e: with the true posterior every weight is p(x)."""
    generator = torch.Generator().manual_seed(n + 10 * m)
    weight, bias = (torch.randn(n, k, generator=generator).double() for k in (m, 1))
    sigma = 0.7
    precision = torch.eye(m).double() + weight.T @ weight / sigma**2

    def posterior(x):
        mean = torch.linalg.solve(precision, weight.T @ (x - bias.T).T / sigma**2).T
        return torch.distributions.MultivariateNormal(mean, precision_matrix=precision)

    decoder = torch.nn.Linear(m, n).double()
    with torch.no_grad():
        decoder.weight.copy_(weight)
        decoder.bias.copy_(bias[:, 0])
    model = t3vae.VAE(
        n, m, sigma=sigma, encoder=torch.nn.Linear(n, 2 * m), decoder=decoder
    ).double()
    model.encode = posterior
    x = torch.randn(5, n, generator=generator).double()
    found = model.log_weights(x, 6, {"prior": model.prior()}, block=12)["prior"]
    truth = torch.distributions.MultivariateNormal(
        bias[:, 0], weight @ weight.T + sigma**2 * torch.eye(n).double()
    )
    torch.testing.assert_close(found, truth.log_prob(x).expand(6, -1))


@pytest.mark.parametrize("family", FAMILIES)
def test_narrow_images_through_perceptrons(family):
    """The last layer of a narrow perceptron is stored by columns."""
    network = {"kind": "mlp", "hidden": [4], "negative_slope": 0.01}
    given = {"family": family, **examples(family)[0]}
    model = build(given, [1, 2, 2], 2, sigma=1.0, network=network, classes=2)
    x, y = torch.rand(6, 1, 2, 2), torch.arange(6) % 2
    labels = {"y": y} if model.conditional else {}
    assert model.sample(5).shape == (5, 1, 2, 2)
    assert model.reconstruct(x, **labels).shape == x.shape
    prior = model.class_distribution("prior", y) if labels else model.prior()
    weights = model.log_weights(x, 3, {"prior": prior}, **labels)["prior"]
    assert weights.shape == (3, 6) and bool(torch.isfinite(weights).all())
