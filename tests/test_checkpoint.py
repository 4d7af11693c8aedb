"""Weights and descriptions: what is refused, and with which words."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import t3vae
from t3vae.errors import CheckpointError, DataError
from t3vae.runtime import files
from t3vae.training import checkpoint


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    t3vae.save(t3vae.T3VAE(2, 1, nu=5.0), path)
    return path


def rewrite(path: Path, change) -> None:
    header, tensors = files.read_tensors_header(path), files.read_tensors(path)
    description = json.loads(header["description"])
    change(description, tensors)
    files.write_tensors(path, tensors, {"description": json.dumps(description)})


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such file"):
        t3vae.load(tmp_path / "nothing.safetensors")


def test_every_cut_is_refused(saved: Path) -> None:
    content = saved.read_bytes()
    for cut in [0, 1, 7, 8, 9, 100, 400, len(content) // 2, len(content) - 1]:
        saved.write_bytes(content[:cut])
        with pytest.raises(CheckpointError, match=r"damaged|not a checkpoint"):
            t3vae.load(saved)


def test_a_pickle_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    torch.save({"a": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match="damaged"):
        t3vae.load(path)


def test_another_format(saved: Path) -> None:
    rewrite(saved, lambda description, _: description.update(format=99))
    with pytest.raises(CheckpointError, match="format 99"):
        t3vae.load(saved)


def test_another_architecture(saved: Path) -> None:
    rewrite(saved, lambda description, _: description["network"].update(hidden=[32, 32]))
    with pytest.raises(CheckpointError, match="another architecture"):
        t3vae.load(saved)


def test_missing_weight(saved: Path) -> None:
    rewrite(saved, lambda _, tensors: tensors.pop(next(iter(sorted(tensors)))))
    with pytest.raises(CheckpointError, match="another architecture"):
        t3vae.load(saved)


@pytest.mark.parametrize(
    "change",
    [
        {"family": "no_such"},
        {"family": "t3vae", "nu": 1.0},
        {"family": "t3vae", "nu": 5.0, "surprise": 1},
    ],
)
def test_description_that_builds_nothing(saved: Path, change: dict) -> None:
    rewrite(saved, lambda description, _: description.update(model=change))
    with pytest.raises(CheckpointError, match=r"not a checkpoint|lies outside this package"):
        t3vae.load(saved)


def test_weights_that_are_not_finite_are_not_written(tmp_path: Path) -> None:
    model = t3vae.T3VAE(2, 1, nu=5.0)
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    with pytest.raises(DataError, match="not finite"):
        t3vae.save(model, tmp_path / "model.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_incomplete_fitted_distribution(saved: Path) -> None:
    model = t3vae.load(saved)
    with pytest.raises(CheckpointError, match="fitted/loc"):
        checkpoint.set_fitted(model, {"fitted/weights": np.ones(1)})
