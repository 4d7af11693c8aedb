"""A finished training as the later steps read it: its configuration, checked.

Weights and configuration are two files; a folder in which they come from two trainings (a
copy that was cut short, a file put there by hand) is refused.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from t3vae.errors import DataError
from t3vae.provenance import digests
from t3vae.runtime import files, layout

__all__ = ["read_config", "scratch"]


def read_config(root: Path, experiment: str, model: str, seed: int) -> dict[str, Any]:
    """Return the ``config.json`` of a run that its weights were trained with.

    Args:
        root: folder of the contract paths.
        experiment, model, seed: which run.

    Raises:
        DataError: a file is missing or damaged, or the weights name another configuration.
    """
    path = layout.under(root, layout.run_file(experiment, model, seed, "config.json"))
    weights = layout.under(root, layout.run_file(experiment, model, seed, "model.safetensors"))
    config = files.read_json(path)
    header = files.read_tensors_header(weights)
    try:
        trained = json.loads(header["provenance"])["config"]
    except (KeyError, TypeError, ValueError):
        trained = None
    if not isinstance(config, dict) or trained != digests.digest(config):
        raise DataError(
            f"{path}: not the configuration that {weights.name} was trained with. "
            f"Delete {path.parent} and train again."
        )
    return config


def scratch(root: Path, experiment: str, model: str, seed: int) -> Path:
    """Return the scratch folder of the training that wrote the weights of a run.

    Args:
        root: folder of the contract paths.
        experiment, model, seed: which run.

    Raises:
        DataError: the weights are missing or damaged.
    """
    weights = layout.under(root, layout.run_file(experiment, model, seed, "model.safetensors"))
    try:
        provenance = json.loads(files.read_tensors_header(weights)["provenance"])
    except (KeyError, ValueError) as error:
        raise DataError(
            f"{weights}: holds no provenance. Delete {weights.parent} and train again."
        ) from error
    return layout.under(root, layout.scratch(digests.digest(provenance)))
