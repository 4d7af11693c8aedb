"""Draw from one trained model: aggregate posterior, fitted law, new data, reconstructions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from t3vae import checkpoint, digests, files, layout, runs, sampling
from t3vae.prepared import Prepared

__all__ = ["run"]


def run(
    root: Path,
    config: Mapping[str, Any],
    experiment: str,
    model: str,
    seed: int,
    device: str = "cpu",
) -> None:
    """Write the samples of one run.

    Args:
        root: folder of the contract paths.
        config: resolved configuration: dataset, latents, sampling, seed.
        experiment, model, seed: which run.
        device: ``cpu`` or ``cuda``.

    Raises:
        DataError, CheckpointError: an input is missing or damaged.
    """
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
    aggregate = sampling.encode(net, data.array("train")[: options["aggregate"]], seed=seed)
    tensors["latent/aggregate"] = _array(aggregate)
    if "fitted" in config["latents"]:
        law = sampling.set_from_encodings(net, aggregate, seed=seed, **options["fit"])
        fitted = checkpoint.fitted_tensors(law)
        tensors |= {f"fitted/{name}": value for name, value in fitted.items()}
    for latent in config["latents"]:
        points, draws = sampling.draw(net, options["draws"], latent, seed=seed)
        tensors[f"latent/{latent}"] = _array(points)
        tensors[f"draws/{latent}"] = _array(draws)
    test = data.array("test")[: options["reconstructions"]]
    tensors["reconstructions"] = _array(sampling.reconstruct(net, test, seed=seed))
    metadata = {"provenance": digests.canonical_json(provenance)}
    files.write_tensors(
        layout.under(root, layout.samples(experiment, model, seed)), tensors, metadata
    )


def _array(tensor: torch.Tensor) -> np.ndarray:
    array: np.ndarray = tensor.cpu().float().numpy()
    return array
