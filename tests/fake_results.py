"""Small made-up results in the shape of the contracts, for tables, figures and the report.

The numbers are drawn from distributions that are known here, so that a test can say what a table
must hold: ``prior`` samples are the true distribution stretched by ``STRETCH``, ``fitted`` samples
    are the true distribution itself.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import model_looks
import numpy as np

from t3vae import datasets
from t3vae.provenance import digests
from t3vae.runtime import files, layout
from t3vae.settings.metrics import METRICS
from t3vae.workflow.jobs import labels

STRETCH = {"vae": 0.9, "student_t_vae": 1.05, "t3vae_nu5": 1.5, "t3vae_nu9": 1.2}
SEEDS = (0, 1, 2)
LATENTS = ("prior", "alternative", "fitted")

UNIVARIATE = {
    "dataset": "toy",
    "source": "t_mixture_1d",
    "components": [
        {"weight": 0.6, "mean": -2.0, "scale": 1.0, "nu": 5.0},
        {"weight": 0.4, "mean": 2.0, "scale": 1.0, "nu": 5.0},
    ],
    "train": 100,
    "validation": 100,
    "test": 4000,
    "seeds": {"train": 1, "validation": 2, "test": 3},
}
BIVARIATE = {
    "dataset": "toy",
    "source": "t_mixture_2d",
    "components": [
        {"weight": 0.7, "mean": -2.0, "scale": 4.0, "nu": 5.0},
        {"weight": 0.3, "mean": 2.0, "scale": 4.0, "nu": 5.0},
    ],
    "amplitude": 2.0,
    "period": 8.0,
    "noise_nu": 6.0,
    "noise_scale": 1.0,
    "train": 100,
    "validation": 100,
    "test": 4000,
    "seeds": {"train": 1, "validation": 2, "test": 3},
}
CONSTANTS = {
    "dataset": "constants",
    "source": "constants",
    "regularizer": {
        "data_dim": 1,
        "latent_dim": 1,
        "sigma": 1.0,
        "nu": [2.1, 3.0, 5.0, 20.0],
        "variance_min": 0.001,
        "variance_max": 3.0,
        "points": 240,
    },
    "tau_alpha": {
        "data_dims": [1, 4, 16, 64],
        "latent_dim": 1,
        "sigma": 1.0,
        "excess_min": 0.01,
        "excess_max": 1000.0,
        "points": 160,
    },
    "high_dimension": {
        "nu": [2.5, 5.0, 10.0, 30.0, 100.0],
        "latent_dim": 1,
        "sigma": 1.0,
        "data_dim_max": 12288,
        "points": 60,
    },
}
FIGURES_1D = ["density", "density_log", "survival", "tail_qq", "metrics", "history", "aggregate"]
FIGURES_2D = ["heatmaps", "survival", "tail_qq", "metrics", "history", "aggregate"]
FIGURES_THEORY = ["regularizer", "tau_alpha", "high_dimension"]


def collect_config(dataset: dict[str, Any], models: list[str] | None = None) -> dict[str, Any]:
    """Return the resolved configuration of ``collect`` for made-up results."""
    names = list(STRETCH) if models is None else models
    return {
        "dataset": "toy",
        "models": names,
        "families": dict.fromkeys(names, "vae"),
        "labels": labels(METRICS),
        "seeds": list(SEEDS),
        "latents": list(LATENTS),
        "metrics": ["ks", "tail_mass_ratio", "mmd", "hill", "log_likelihood"],
        "control": "vae",
        "figures": FIGURES_1D if dataset["source"] == "t_mixture_1d" else FIGURES_2D,
    }


def figure_config(name: str, models: list[str], **style: Any) -> dict[str, Any]:
    """Return the resolved configuration of one figure."""
    looks = model_looks.of(models)
    return {"name": name, "models": models, "looks": looks, "style": style}


def write(
    root: Path,
    experiment: str,
    dataset: dict[str, Any],
    config: dict[str, Any],
    samples: int = 4000,
) -> None:
    """Write data, runs, samples and metrics of one experiment below ``root``."""
    rng = np.random.default_rng(0)
    dim = 1 if dataset["source"] == "t_mixture_1d" else 2
    test = _target(dataset, 4000, rng)
    files.write_npy(layout.under(root, layout.prepared("toy", "test.npy")), test)
    arrays = {"test.npy": {"sha256": hashlib.sha256(test.tobytes()).hexdigest()}}
    manifest = {
        "dataset": "toy",
        "config": dataset,
        "arrays": arrays,
        "tail_index": [5.0] * dim,
        "provenance": digests.provenance("prepare", dataset),
    }
    files.write_json(layout.under(root, layout.manifest("toy")), manifest)
    for number, model in enumerate(config["models"]):
        for seed in config["seeds"]:
            _run(root, experiment, model, seed, number, rng)
            _samples(root, experiment, model, seed, dataset, samples, rng)
            _metrics(root, experiment, model, seed, number, dim, rng)


def _target(dataset: dict[str, Any], n: int, rng: np.random.Generator) -> np.ndarray:
    weights = [c["weight"] for c in dataset["components"]]
    chosen = rng.choice(len(weights), size=n, p=weights)
    mean = np.array([c["mean"] for c in dataset["components"]])[chosen]
    scale = np.sqrt([c["scale"] for c in dataset["components"]])[chosen]
    x = mean + scale * rng.standard_t(5.0, n)
    if dataset["source"] == "t_mixture_1d":
        return x[:, None].astype(np.float32)
    curve = np.column_stack([x, x + 2.0 * np.sin(np.pi * x / 4.0)])
    noise = rng.standard_normal((n, 2)) * np.sqrt(6.0 / rng.chisquare(6.0, (n, 1)))
    return (curve + noise).astype(np.float32)


def _run(
    root: Path, experiment: str, model: str, seed: int, number: int, rng: np.random.Generator
) -> None:
    epochs = 60 + 5 * seed
    lines = [
        "epoch,step,train_reconstruction,train_regularizer,train_total,"
        "validation_reconstruction,validation_regularizer,validation_total"
    ]
    for epoch in range(epochs):
        decay = np.exp(-epoch / 8.0)
        values = []
        for shift in (0.0, 0.05):
            reconstruction = 1.2 + number * 0.2 + 2.0 * decay + shift + 0.03 * rng.normal()
            regularizer = 6.0 - 0.4 * number - 1.5 * decay + 0.03 * rng.normal()
            values += [reconstruction, regularizer, reconstruction + regularizer]
        lines.append(",".join([str(epoch), str(epoch * 196), *(f"{v:.10g}" for v in values)]))
    path = layout.run_file(experiment, model, seed, "history.csv")
    files.write_text(layout.under(root, path), "\n".join(lines) + "\n")
    made = {
        "provenance": {"config": "0" * 16, "sources": "1" * 16, "inputs": {}},
        "versions": {"python": "3.11.7", "torch": "2.14.1", "t3vae": "0.1.0"},
        "seconds": 12.5,
        "host": {"machine": "x86_64"},
        "best_epoch": epochs - 16,
        "epochs": epochs,
    }
    files.write_json(
        layout.under(root, layout.run_file(experiment, model, seed, "provenance.json")), made
    )


def _samples(
    root: Path,
    experiment: str,
    model: str,
    seed: int,
    dataset: dict[str, Any],
    samples: int,
    rng: np.random.Generator,
) -> None:
    stretch = STRETCH.get(model, 1.0 + 0.02 * (sum(map(ord, model)) % 20))
    own = "t3" in model
    aggregate = _target(UNIVARIATE, samples, rng) * 0.4
    tensors = {"latent/aggregate": aggregate}
    for latent in LATENTS:
        factor = {"prior": stretch, "alternative": 1 + (stretch - 1) / 2, "fitted": 1.0}[latent]
        tensors[f"samples/{latent}"] = (_target(dataset, samples, rng) * factor).astype(np.float32)
        if latent == "fitted":
            z = _target(UNIVARIATE, samples, rng) * 0.4
        else:
            z = rng.standard_t(5.0 + 4 * (latent == "prior"), (samples, 1)) * factor
        tensors[f"latent/{latent}"] = z.astype(np.float32)
    if not own:
        for kind in ("latent", "samples"):
            tensors[f"{kind}/alternative"] = tensors[f"{kind}/prior"]
    files.write_tensors(layout.under(root, layout.samples(experiment, model, seed)), tensors)


def _metrics(
    root: Path,
    experiment: str,
    model: str,
    seed: int,
    number: int,
    dim: int,
    rng: np.random.Generator,
) -> None:
    found: list[dict[str, Any]] = []

    def add(name: str, latent: str | None, group: str, value: float | None, **more: Any) -> None:
        found.append(
            {
                "name": name,
                "latent": latent,
                "group": group,
                "value": value,
                "n": 4000,
                "split": "test",
                "protocol": "made up",
                **more,
            }
        )

    stretch = STRETCH.get(model, 1.1)
    for latent in LATENTS:
        off = {
            "prior": abs(np.log(stretch)),
            "alternative": 0.5 * abs(np.log(stretch)),
            "fitted": 0.004,
        }[latent]
        off *= 1 + 0.1 * rng.normal()
        add("ks", latent, "all" if dim == 1 else "column=0", 0.002 + 0.2 * off)
        add(
            "mmd",
            latent,
            "all",
            0.01 * off**2 + 1e-5 * rng.normal(),
            p_value=0.01 + 0.3 * (latent == "fitted"),
        )
        for tail in ("left_tail", "right_tail"):
            if model == "vae" and tail == "left_tail" and latent == "prior":
                add(
                    "tail_mass_ratio",
                    latent,
                    tail,
                    None,
                    reason="no draw beyond the threshold 6",
                )
            else:
                add(
                    "tail_mass_ratio",
                    latent,
                    tail,
                    np.exp(5 * off) * (1 + 0.03 * rng.normal()),
                )
            for k in (63, 40):
                add("hill", latent, f"{tail}:k={k}", 5.0 - 8 * off + 0.2 * rng.normal())
        add("log_likelihood", latent, "all", -2.05 - off + 0.002 * rng.normal(), se=0.01)
    for tail in ("left_tail", "right_tail"):
        for k in (63, 40):
            add("hill_reference", None, f"{tail}:k={k}", 4.6)
    add("log_likelihood_true", None, "all", -2.04)
    add("reconstruction_error", None, "all", 0.01 + 0.001 * number)
    record = {
        "experiment": experiment,
        "model": model,
        "seed": seed,
        "provenance": {},
        "metrics": found,
    }
    files.write_json(layout.under(root, layout.metrics(experiment, model, seed)), record)


def constants(root: Path) -> None:
    """Prepare the data set of the constants below ``root``."""
    folder = layout.under(root, layout.prepared("constants"))
    datasets.prepare(CONSTANTS, folder, digests.provenance("prepare", CONSTANTS))
