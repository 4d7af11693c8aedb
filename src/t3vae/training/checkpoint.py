"""Weights and description of a trained model in one safetensors file.

The header holds, as JSON, what the model is built from; the tensors are its weights and,
where one was fitted, the latent distribution ``fitted``. Nothing is unpickled.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from t3vae import models
from t3vae.errors import CheckpointError, DataError
from t3vae.maths.distributions import TMixture
from t3vae.models.base import Model
from t3vae.runtime import files
from t3vae.settings.families import FAMILIES

__all__ = ["FORMAT", "describe", "fitted_tensors", "load", "load_run", "save", "set_fitted"]

FORMAT = 1
_FITTED = ("weights", "loc", "scale", "nu")


def describe(model: Model) -> dict[str, Any]:
    """Return what the model is built from, as plain JSON values."""
    return {
        "format": FORMAT,
        "model": {"family": models.family_name(model), **model.hyperparameters()},
        "data_shape": model.data_shape,
        "latent_dim": model.given_latent_dim,
        "sigma": model.sigma,
        "network": model.network,
        **({"classes": getattr(model, "classes", None)} if model.conditional else {}),
    }


def fitted_tensors(distribution: TMixture) -> dict[str, np.ndarray]:
    """Return weights [K], loc [K, m], scale [K, m] and nu [K] of a fitted latent distribution."""
    return {name: getattr(distribution, name).detach().cpu().double().numpy() for name in _FITTED}


def set_fitted(model: Model, tensors: Mapping[str, np.ndarray]) -> None:
    """Give the model the latent distribution ``fitted`` from tensors named ``fitted/...``.

    Raises:
        CheckpointError: a tensor is missing.
    """
    reference = next(model.parameters())
    try:
        parts = [
            torch.from_numpy(np.array(tensors[f"fitted/{name}"])).to(reference) for name in _FITTED
        ]
    except KeyError as error:
        raise CheckpointError(f"no tensor {error.args[0]!r}: run `t3vae sample` again.") from error
    model.set_fitted(TMixture(*parts))


def save(model: Model, path: Path | str, *, metadata: Mapping[str, str] | None = None) -> None:
    """Write weights, description and fitted latent distribution to one file.

    Args:
        model: the model.
        path: file to write, by custom with the ending ``.safetensors``.
        metadata: more text for the header.

    Raises:
        DataError: a weight is not finite, or the file cannot be written.
    """
    tensors = {
        f"weights/{name}": value.detach().cpu().numpy()
        for name, value in model.state_dict().items()
    }
    if model._fitted is not None:
        distribution = fitted_tensors(model._fitted)
        tensors |= {f"fitted/{name}": value for name, value in distribution.items()}
    header = {"description": json.dumps(describe(model), sort_keys=True), **(metadata or {})}
    files.write_tensors(Path(path), tensors, header)


def load(path: Path | str, device: str | torch.device = "cpu", *, imports: bool = False) -> Model:
    """Rebuild a model from a file written by :func:`save`.

    Args:
        path: the file.
        device: where to put the weights.
        imports: also follow the import path of a family outside this package, which runs the
            code of its module; without it, such a module must have been imported before.

    Raises:
        CheckpointError: the file is missing, damaged, of another format, or its weights are
            of another architecture.
    """
    path = Path(path)
    try:
        header = files.read_tensors_header(path)
        tensors = files.read_tensors(path)
        description = json.loads(header["description"])
        if description["format"] != FORMAT:
            raise CheckpointError(
                f"{path}: format {description['format']}, this version reads {FORMAT}. "
                "Train the model again, or use the version that wrote the file."
            )
        _check_import(path, description["model"]["family"], imports)
        model = models.build(
            description["model"],
            description["data_shape"],
            description["latent_dim"],
            sigma=description["sigma"],
            network=description["network"],
            classes=description.get("classes"),
        )
    except CheckpointError:
        raise
    except DataError as error:
        raise CheckpointError(str(error)) from error
    except Exception as error:  # whatever another's description makes of building
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(
            f"{path}: not a checkpoint of this package ({first}). Train the model again."
        ) from error
    weights = {
        name.removeprefix("weights/"): torch.from_numpy(value.copy())
        for name, value in tensors.items()
        if name.startswith("weights/")
    }
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        first = str(error).splitlines()[-1].strip()
        raise CheckpointError(
            f"{path}: weights of another architecture ({first}). Train the model again."
        ) from error
    model.to(device).eval()
    if "fitted/weights" in tensors:
        set_fitted(model, tensors)
    return model


def load_run(run_dir: Path | str, device: str | torch.device = "cpu") -> Model:
    """Rebuild the model of a training run from its folder."""
    return load(Path(run_dir) / "model.safetensors", device, imports=True)


def _check_import(path: Path, family: Any, imports: bool) -> None:
    """Refuse to run code that only the file names."""
    module = str(family).partition(":")[0]
    if family in FAMILIES or imports or module in sys.modules:
        return
    raise CheckpointError(
        f"{path}: its family {family!r} lies outside this package, and loading it runs the code "
        f"of {module}. If you trust it, import that module first, or pass imports=True."
    )
