"""Small made-up results on images in the shape of the contracts, for tables and figures."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from t3vae.provenance.digests import digest
from t3vae.runtime import files, layout
from t3vae.settings.metrics import METRICS
from t3vae.workflow.jobs import labels

MODELS = ["vae", "beta_vae_matched", "beta_vae_matched_scaled", "t3vae_nu10", "c_t3vae_nu10"]
LATENTS = ["prior", "alternative", "fitted"]
SEEDS = [0, 1, 2]
COUNTS = [200, 100, 50, 25, 12, 10]
GROUPS = {"head": [0, 1], "medium": [2, 3], "tail": [4, 5]}
NAMES = ["Bald", "Young", "Mustache", "Wearing_Hat", "Smiling"]
FEW = "only 40 images for 32 features: below twice the number of features"
FIGURES = [
    *("samples", "reconstructions", "metrics", "paired", "per_class", "class_curves", "history")
]
FACES = ["samples", "reconstructions", "metrics", "paired", "attributes"]


def manifest(faces: bool = False) -> dict[str, Any]:
    """Return the manifest of a made-up data set."""
    arrays = {f"{name}.npy": {} for name in ("test", "train")}
    common = {"dataset": "toy", "value_range": [0, 255], "flip": False}
    if faces:
        arrays["test_attributes.npy"] = {}
        config = {"dataset": "toy", "source": "celeba"}
        return {**common, "config": config, "arrays": arrays, "classes": [], "attributes": NAMES}
    arrays["test_labels.npy"] = {}
    return {
        **common,
        "config": {"dataset": "toy", "source": "digits"},
        "arrays": arrays,
        "classes": [str(k) for k in range(6)],
        "groups": GROUPS,
        "class_counts": {"train": COUNTS, "test": [20] * 6},
    }


def collect_config(faces: bool = False, models: list[str] | None = None) -> dict[str, Any]:
    """Return the resolved configuration of ``collect``."""
    names = models or [m for m in MODELS if not (faces and m.startswith("c_"))]
    controls = {
        "t3vae_nu10": ["beta_vae_matched", "beta_vae_matched_scaled"],
        "c_t3vae_nu10": ["beta_vae_matched"],
    }
    return {
        "dataset": "toy",
        "models": names,
        "families": dict.fromkeys(names, "vae"),
        "labels": labels(METRICS),
        "seeds": SEEDS,
        "latents": LATENTS,
        "metrics": ["reconstruction_error", "frechet_distance_classifier", "class_f1"],
        "control": "vae",
        "controls": {k: v for k, v in controls.items() if k in names},
        "images": True,
        "figures": FACES if faces else FIGURES,
    }


def images(labels: np.ndarray, channels: int, size: int, seed: int) -> np.ndarray:
    """Return images with a bright square whose place says the class."""
    rng = np.random.default_rng(seed)
    found = rng.integers(0, 50, (len(labels), channels, size, size))
    for i, label in enumerate(labels):
        row, column = divmod(int(label), 3)
        step = size // 3
        found[i, :, row * step : row * step + step, column * step : column * step + step] += 180
    return found.astype(np.uint8)


def write(root: Path, experiment: str, config: dict[str, Any], faces: bool = False) -> None:
    """Write data, runs, samples and metrics of one experiment below ``root``."""
    channels, size = (3, 24) if faces else (1, 8)
    labels = np.repeat(np.arange(6), 20)
    rng = np.random.default_rng(0)
    prepared = {"test": images(labels, channels, size, 0)}
    if faces:
        share = np.array([0.05, 0.8, 0.1, 0.05, 0.5])
        prepared["test_attributes"] = (rng.random((120, 5)) < share).astype(np.uint8)
        prepared["test_attributes"][:6] = 1
    else:
        prepared["test_labels"] = labels
    for name, array in prepared.items():
        files.write_npy(layout.under(root, layout.prepared("toy", f"{name}.npy")), array)
    described = manifest(faces)
    described["provenance"] = {"config": digest(described["config"])}
    for name, array in prepared.items():
        whole = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
        described["arrays"][f"{name}.npy"] = {"sha256": whole}
    files.write_json(layout.under(root, layout.manifest("toy")), described)
    for number, model in enumerate(config["models"]):
        for seed in config["seeds"]:
            run = (experiment, model, seed)
            _run(root, run, number)
            _samples(root, run, labels, channels, size)
            _metrics(root, run, number, faces)


def _run(root: Path, run: tuple[str, str, int], number: int) -> None:
    names = [f"{s}_{p}" for s in ("train", "validation")
             for p in ("reconstruction", "regularizer", "total")]  # fmt: skip
    lines = [",".join(["epoch", "step", *names])]
    lines += [
        ",".join([str(e), str(9 * e), *(f"{number + 5 / e + i:.6g}" for i in range(6))])
        for e in range(1, 12)
    ]
    history = layout.run_file(*run, "history.csv")
    files.write_text(layout.under(root, history), "\n".join(lines) + "\n")
    made = {
        "provenance": {"config": "0" * 16, "sources": "1" * 16, "inputs": {}},
        "versions": {"python": "3.11.7"},
        "best_epoch": 9,
        "epochs": 11,
    }
    files.write_json(layout.under(root, layout.run_file(*run, "provenance.json")), made)


def _samples(
    root: Path, run: tuple[str, str, int], labels: np.ndarray, channels: int, size: int
) -> None:
    seed = 10 * run[2] + len(run[1])
    rng = np.random.default_rng(seed)
    tensors = {"latent/aggregate": rng.normal(size=(200, 4)).astype(np.float32)}
    for i, latent in enumerate(LATENTS):
        tensors[f"samples/{latent}"] = images(rng.permutation(labels), channels, size, seed + i)
        tensors[f"latent/{latent}"] = rng.normal(size=(120, 4)).astype(np.float32)
    if "t3" not in run[1]:
        for kind in ("latent", "samples"):
            tensors[f"{kind}/alternative"] = tensors[f"{kind}/prior"]
    tensors["reconstructions"] = images(labels, channels, size, seed + 5)
    files.write_tensors(layout.under(root, layout.samples(*run)), tensors)


def _metrics(root: Path, run: tuple[str, str, int], number: int, faces: bool) -> None:
    rng = np.random.default_rng(100 * run[2] + number)
    found: list[dict[str, Any]] = []

    def add(name: str, latent: str | None, group: str, value: float | None, **more: Any) -> None:
        item = {"name": name, "latent": latent, "group": group, "value": value, "n": 100}
        found.append({**item, "split": "test", "protocol": "made up", **more})

    each = {f"class:{k}": 1 + 0.4 * k for k in range(6)} | {"head": 1.2, "medium": 2.0, "tail": 2.8}
    if faces:
        each = {f"attribute:{name}": 1 + 0.3 * i for i, name in enumerate(NAMES)}
        each["attribute:not_Young"] = 2.0
    for group, hard in {"all": 1.5, **each}.items():
        noise = 1 + 0.03 * rng.normal()
        error = 50 - 8 * number + 3 * hard
        add("reconstruction_error", "reconstruction", group, error * noise)
        add(
            "frechet_distance_classifier",
            "reconstruction",
            group,
            (3 - 0.4 * number + hard) * noise,
        )
        if faces and group != "all":
            continue
        repeated = 0.0
        for latent in LATENTS:
            value = (8 - number + 2 * hard) * {"prior": 1.5, "fitted": 0.8}.get(latent, 1.0)
            value *= 1 + 0.04 * rng.normal()
            if latent == "prior":
                repeated = value
            if latent == "alternative" and "t3" not in run[1]:
                value = repeated
            few = group == "tail" or group.startswith("class:")
            more = {"flag": FEW, "n": 40} if few and latent == "prior" else {}
            add("frechet_distance_classifier", latent, group, value, **more)
            if run[1].startswith("c_"):
                add(
                    "class_f1",
                    latent,
                    group,
                    min(0.99, 0.9 - 0.05 * hard + 0.01 * rng.normal()),
                )
    for latent in LATENTS:
        add("coverage", latent, "all", 0.6 + 0.02 * number + 0.01 * rng.normal())
        add("kid", latent, "all", 0.01 + 0.001 * number + 0.0005 * rng.normal(), se=0.0004)
        add("latent_radius", latent, "all", 0.9 + 0.02 * rng.normal())
        if not run[1].startswith("c_") and not faces:
            add("class_f1", latent, "all", None, reason="the model is not conditional")
    add("active_units", "alternative", "all", 4.0 - number % 2)
    record: dict[str, Any] = {"provenance": {}, "metrics": found}
    record |= {"experiment": run[0], "model": run[1], "seed": run[2]}
    if not faces:
        shown = {"head": [0, 1, 2, 3], "medium": [4, 5], "tail": []}
        record["shown"] = dict.fromkeys(LATENTS, shown)
    files.write_json(layout.under(root, layout.metrics(*run)), record)
