"""Sample one trained model: aggregate posterior, fitted latent, new data, reconstructions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from t3vae.datasets.prepared import Prepared
from t3vae.provenance import digests
from t3vae.runtime import accelerator, files, layout, scratch
from t3vae.training import checkpoint, runs, sampling

__all__ = ["run"]


def run(
    root: Path,
    config: Mapping[str, Any],
    experiment: str,
    model: str,
    seed: int,
    device: str = "cpu",
) -> None:
    """Write the samples of one run, and clear the final state of its training.

    Whoever samples has found the weights, so the state is no longer needed. It goes before
    the samples are written: where there are samples, no state is left behind.

    Args:
        root: folder of the contract paths.
        config: resolved configuration: dataset, latents, sampling, seed.
        experiment, model, seed: which run.
        device: ``cpu`` or ``cuda``.

    Raises:
        DataError, CheckpointError: an input is missing or damaged.
    """
    accelerator.usable(device)
    torch.set_flush_denormal(True)
    options = config["sampling"]
    data = Prepared(root, config["dataset"])
    weights = layout.run_file(experiment, model, seed, "model.safetensors")
    trained = layout.run_file(experiment, model, seed, "config.json")
    inputs = dict(data.inputs)
    for path in (weights, trained):
        inputs[path] = digests.file_digest(layout.under(root, path))
    run_config = runs.read_config(root, experiment, model, seed)
    provenance = digests.provenance("sample", config, inputs, uses=[run_config])
    net = checkpoint.load_run(layout.under(root, layout.run_dir(experiment, model, seed)), device)
    tensors: dict[str, np.ndarray] = {}
    train, test = data.array("train"), data.array("test")[: options["reconstructions"]]
    images = train.dtype == np.uint8
    known = {
        split: np.array(data.array(f"{split}_labels"))
        for split in ("train", "test")
        if f"{split}_labels.npy" in data.manifest["arrays"]
    }
    rows = slice(options["aggregate"])
    labels = known["train"][rows] if "train" in known else None
    aggregate = sampling.encode(net, train[rows], seed=seed, labels=labels)
    tensors["latent/aggregate"] = _array(aggregate)
    if labels is not None:
        tensors["labels/aggregate"] = labels
    if "fitted" in config["latents"]:
        if net.conditional:
            latent = sampling.fit_latent(
                net, train[rows], seed=seed, labels=labels, **options["fit"]
            )
        else:
            latent = sampling.set_from_encodings(net, aggregate, seed=seed, **options["fit"])
        fitted = checkpoint.fitted_tensors(latent)
        tensors |= {f"fitted/{name}": value for name, value in fitted.items()}
    for latent in config["latents"]:
        if images:
            points, generated, drawn = sampling.sample_images(
                net, options["samples"], latent, seed=seed
            )
            if drawn is not None:
                tensors[f"labels/{latent}"] = drawn.cpu().numpy()
        else:
            points, generated = net.sample_pairs(options["samples"], latent, seed=seed)
        tensors[f"latent/{latent}"] = _array(points)
        tensors[f"samples/{latent}"] = _array(generated)
    of_test = known["test"][: len(test)] if "test" in known else None
    tensors["reconstructions"] = _array(sampling.reconstruct(net, test, seed=seed, labels=of_test))
    metadata = {"provenance": digests.canonical_json(provenance)}
    scratch.Scratch(runs.scratch(root, experiment, model, seed), key="").discard()
    files.write_tensors(
        layout.under(root, layout.samples(experiment, model, seed)), tensors, metadata
    )


def _array(tensor: torch.Tensor) -> np.ndarray:
    tensor = tensor.cpu()
    array: np.ndarray = (tensor if tensor.dtype == torch.uint8 else tensor.float()).numpy()
    return array
