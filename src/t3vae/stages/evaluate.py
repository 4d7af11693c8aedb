"""The evaluate step: all metrics of one run, each with n, protocol and interval."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from t3vae import datasets, metrics
from t3vae.datasets.prepared import Prepared
from t3vae.errors import DataError
from t3vae.metrics.reference import Reference, Sample, options_of
from t3vae.provenance import digests
from t3vae.runtime import files, layout, seeding
from t3vae.settings.metrics import METRICS
from t3vae.training import checkpoint, runs

__all__ = ["run"]

Entry = dict[str, Any]
Array = NDArray[np.floating[Any]]

POINTS_AT_ONCE = 125  # test points whose importance samples are decoded together


def run(
    root: Path,
    config: Mapping[str, Any],
    experiment: str,
    model: str,
    seed: int,
    device: str = "cpu",
) -> None:
    """Evaluate the samples of one run and write its metrics file.

    Args:
        root: root folder of the contract paths.
        config: the resolved configuration: dataset, latents, metrics, evaluation, seed.
        experiment: name of the experiment.
        model: name of the model.
        seed: seed of the run.
        device: where the model runs for metrics that need it.

    Raises:
        DataError: an input is missing, damaged, or not what this step expects.
        CheckpointError: the model cannot be rebuilt.
    """
    data = Prepared(root, config["dataset"])
    inputs = dict(data.inputs)
    sample_path = layout.samples(experiment, model, seed)
    run_paths = [layout.run_file(experiment, model, seed, f) for f in layout.RUN_FILES[:2]]
    for path in (sample_path, *run_paths):
        inputs[path] = digests.file_digest(layout.under(root, path))
    run_config = runs.read_config(root, experiment, model, seed)
    samples = files.read_tensors(layout.under(root, sample_path))
    wanted = [f"samples/{latent}" for latent in config["latents"]] + ["reconstructions"]
    absent = [name for name in wanted if name not in samples]
    if absent:
        raise DataError(f"{sample_path}: no tensor {', '.join(absent)}. Run `t3vae sample` again.")

    folder = layout.under(root, layout.run_dir(experiment, model, seed))
    if "extractors" in config:
        # Loaded here, so that results on numbers do not depend on it.
        images = import_module("t3vae.stages.evaluate_images")
        images_run = images.ImageRun(root, config, folder, samples, data, device)
        entries, shown = images_run.entries(), images_run.shown_samples
        inputs |= images_run.inputs
    else:
        shown, entries = None, _of_numbers(config, folder, samples, data, device)
    record = {
        "experiment": experiment,
        "model": model,
        "seed": seed,
        "provenance": digests.provenance(
            "evaluate", config, inputs, uses=[run_config, data.config]
        ),
        "metrics": entries,
        **({"shown": shown} if shown else {}),
    }
    files.write_json(layout.under(root, layout.metrics(experiment, model, seed)), record)


def _of_numbers(
    config: Mapping[str, Any],
    folder: Path,
    samples: Mapping[str, Array],
    data: Prepared,
    device: str,
) -> list[Entry]:
    """Return the entries of a run on numbers, not images."""
    reference = Reference(_flat(data.array("test")), datasets.load_distribution(data.config))
    entries = _of_samples(samples, reference, config)
    if "reconstruction_error" in config["metrics"]:
        name, points = "reconstruction_error", _flat(samples["reconstructions"])
        rng = seeding.numpy_generator(config["seed"], f"evaluate/{name}")
        found = metrics.evaluate(name, points, reference, config["evaluation"], rng)
        entries += [_entry(entry, None) for entry in found]
    if "log_likelihood" in config["metrics"]:
        entries += _of_likelihood(folder, samples, data, reference, config, device)
    return entries


def _flat(array: NDArray[Any]) -> Array:
    points = np.asarray(array).reshape(len(array), -1)
    return points if points.dtype.kind == "f" else points.astype(np.float32)


def _entry(entry: Entry, latent: str | None) -> Entry:
    return {"latent": latent, "split": "test", **entry}


def _of_samples(
    samples: Mapping[str, Array], reference: Reference, config: Mapping[str, Any]
) -> list[Entry]:
    """Return the entries of the metrics of samples, for each latent distribution."""
    names = [name for name in config["metrics"] if METRICS[name].of != "model"]
    found: dict[str, list[Entry]] = {}
    shared: dict[tuple[str, str], Entry] = {}
    for latent in config["latents"]:
        points = samples[f"samples/{latent}"]
        # a model without an alternative prior samples from its prior twice
        twin = next((o for o in found if np.array_equal(points, samples[f"samples/{o}"])), None)
        if twin is not None:
            found[latent] = [{**entry, "latent": latent} for entry in found[twin]]
            continue
        generated = Sample(_flat(points))
        entries = []
        for name in names:
            rng = seeding.numpy_generator(config["seed"], f"evaluate/{name}/{latent}")
            for entry in metrics.evaluate(name, generated, reference, config["evaluation"], rng):
                if "latent" in entry:  # a value of the true sample
                    shared.setdefault((entry["name"], entry["group"]), _entry(entry, None))
                else:
                    entries.append(_entry(entry, latent))
        found[latent] = entries
    return [entry for entries in found.values() for entry in entries] + list(shared.values())


def _of_likelihood(
    folder: Path,
    samples: Mapping[str, Array],
    data: Prepared,
    reference: Reference,
    config: Mapping[str, Any],
    device: str,
) -> list[Entry]:
    """Return the importance-weighted log-likelihood for each latent distribution.

    The distribution is part of the joint density; encodings and decodes are shared by all
    distributions. A conditional model is asked for log p(x | y) with the label of each point.
    """
    name, seed = "log_likelihood", config["seed"]
    options = options_of(name, config["evaluation"])
    rng = seeding.numpy_generator(0, f"evaluate/{name}")  # the same rows for every run
    test = data.array("test")
    count = min(options["points"], len(test))
    rows = np.sort(rng.choice(len(test), count, replace=False))
    net: Any = checkpoint.load_run(folder, device)
    if "fitted" in config["latents"]:
        checkpoint.set_fitted(net, samples)
    x = torch.from_numpy(np.ascontiguousarray(test[rows])).to(device)
    labels = data.array("test_labels")[rows] if net.conditional else None
    parts = []
    with seeding.torch_stream(seed, f"evaluate/{name}"):
        for start in range(0, count, POINTS_AT_ONCE):
            block = slice(start, start + POINTS_AT_ONCE)
            of_latent, given = net.latent_distribution, {}
            if labels is not None:
                y = torch.from_numpy(np.array(labels[block])).to(device)
                of_latent, given = partial(net.class_distribution, y=y), {"y": y}
            distributions = {latent: of_latent(latent) for latent in config["latents"]}
            weights = net.log_weights(x[block], options["samples"], distributions, **given)
            parts.append({latent: w.cpu().numpy() for latent, w in weights.items()})
    subset = Reference(reference.points[rows], reference.distribution)
    entries: dict[tuple[str, str | None], Entry] = {}
    for latent in config["latents"]:
        log_weights = Sample(np.concatenate([p[latent] for p in parts], axis=1), finite=False)
        for found in metrics.evaluate(name, log_weights, subset, config["evaluation"], rng):
            entry = _entry(found, latent)  # the value of the true sample has a latent of its own
            entries.setdefault((entry["name"], entry["latent"]), entry)
    return list(entries.values())
