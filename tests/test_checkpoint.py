"""Weights and descriptions: what is refused, and with which words."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import t3vae
from t3vae.errors import CheckpointError, ConfigError, DataError
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


# -- what a file cannot hold -------------------------------------------------------------


def parts(hidden: int = 8) -> dict[str, torch.nn.Module]:
    encoder = torch.nn.Sequential(
        torch.nn.Linear(2, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, 2)
    )
    return {"encoder": encoder, "decoder": torch.nn.Linear(1, 2)}


def same(a: t3vae.T3VAE, b: t3vae.T3VAE) -> bool:
    first, second = a.state_dict(), b.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


@pytest.mark.parametrize("custom", [("encoder",), ("decoder",), ("encoder", "decoder")])
def test_custom_networks_are_given_to_load(custom: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    model = t3vae.T3VAE(2, 1, nu=5.0, **{name: parts()[name] for name in custom})
    call = "t3vae.load(path, " + ", ".join(f"{name}=..." for name in custom) + ")"
    with pytest.warns(UserWarning, match="holds weights and no code") as said:
        t3vae.save(model, path)
    assert call in str(said[0].message)
    again = t3vae.load(path, **{name: parts()[name] for name in custom})
    assert same(model, again)
    with pytest.raises(CheckpointError, match=r"holds no code\. Build the same module") as error:
        t3vae.load(path)
    assert call in str(error.value) and "Train" not in str(error.value)
    other = {name: parts(hidden=5)[name] for name in custom}
    other["decoder"] = torch.nn.Linear(1, 3)
    with pytest.raises(
        CheckpointError, match=r"another architecture .* Give the .* that was saved"
    ):
        t3vae.load(path, **other)


def test_a_network_that_was_replaced_is_custom(tmp_path: Path) -> None:
    model = t3vae.T3VAE(2, 1, nu=5.0)
    assert model.custom_networks == []
    model.encoder = parts()["encoder"]
    with pytest.warns(UserWarning, match=r"encoder=\.\.\."):
        t3vae.save(model, tmp_path / "model.safetensors")
    assert same(model, t3vae.load(tmp_path / "model.safetensors", encoder=parts()["encoder"]))


def test_described_networks_need_nothing(tmp_path: Path) -> None:
    import copy
    import warnings

    model = copy.deepcopy(t3vae.T3VAE(2, 1, nu=5.0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        t3vae.save(model, tmp_path / "model.safetensors")
    assert checkpoint.needed(model) is None and "custom" not in checkpoint.describe(model)


def local_family() -> type[t3vae.VAE]:
    class Local(t3vae.VAE):
        """A family that only this function knows."""

    return Local


def test_a_family_of_a_function_is_given_to_load(tmp_path: Path) -> None:
    path, family = tmp_path / "model.safetensors", local_family()
    model = family(2, 1)
    with pytest.warns(UserWarning, match=r"t3vae.load\(path, family=Local"):
        t3vae.save(model, path)
    assert same(model, t3vae.load(path, family=family))
    with pytest.raises(CheckpointError, match=r"give the class: t3vae.load\(path, family=...\)"):
        t3vae.load(path, imports=True)
    with pytest.raises(ConfigError, match="must be a class derived from Model"):
        t3vae.load(path, family=torch.nn.Linear)


def test_a_family_of_a_script(tmp_path: Path) -> None:
    """The script loads it as it is; another script gives its class."""
    import subprocess
    import sys

    script = """
import sys, warnings
warnings.simplefilter("ignore")
import t3vae
class Mine(t3vae.VAE):
    pass
path = sys.argv[1]
if sys.argv[2] == "save":
    t3vae.save(Mine(2, 1), path)
    assert type(t3vae.load(path)) is Mine
else:
    Other = Mine
    del Mine
    try:
        t3vae.load(path)
    except t3vae.errors.CheckpointError as error:
        assert "family=..." in str(error), error
    else:
        raise AssertionError
    assert type(t3vae.load(path, family=Other)) is Other
"""
    for what in ("save", "load"):
        command = [sys.executable, "-c", script, str(tmp_path / "m.safetensors"), what]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


class Forgetful(t3vae.VAE):
    """A family that does not say its parameter."""

    def __init__(self, data_dim, latent_dim, *, factor: float, **more) -> None:
        super().__init__(data_dim, latent_dim, **more)
        self.factor = factor


class Chatty(t3vae.VAE):
    """A family whose parameters cannot be written."""

    def hyperparameters(self):
        return {"beta": np.ones(2)}


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: Forgetful(2, 1, factor=2.0), r"Forgetful.hyperparameters\(\) gives .*'factor'"),
        (lambda: Chatty(2, 1), r"Chatty.hyperparameters\(\): holds what JSON cannot say"),
        (lambda: t3vae.VAE(2, 1).to(torch.bfloat16), "bfloat16, which the file cannot hold"),
    ],
)
def test_what_could_not_be_loaded_is_not_saved(model, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        t3vae.save(model(), tmp_path / "model.safetensors")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["os:system", "subprocess:run", "no_such_networks:build"])
def test_a_network_outside_the_package_is_not_imported(saved: Path, kind: str) -> None:
    """What a file names runs only where somebody says so."""
    rewrite(saved, lambda description, _: description["network"].update(kind=kind))
    with pytest.raises(CheckpointError, match=r"its network .* lies outside this package"):
        t3vae.load(saved)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
@pytest.mark.parametrize("default", [torch.float32, torch.float64])
def test_weights_keep_their_type(kind: torch.dtype, default: torch.dtype, tmp_path: Path) -> None:
    model = t3vae.T3VAE(2, 1, nu=5.0).to(kind)
    t3vae.save(model, tmp_path / "model.safetensors")
    try:
        torch.set_default_dtype(default)
        again = t3vae.load(tmp_path / "model.safetensors")
    finally:
        torch.set_default_dtype(torch.float32)
    assert same(model, again) and next(again.parameters()).dtype == kind


def test_methods_of_the_first_edition(tmp_path: Path) -> None:
    model, x = t3vae.T3VAE(2, 1, nu=5.0), torch.randn(60, 2)
    fitted = model.fit_latent(x, seed=1, max_components=1)
    assert model.latent_distribution("fitted") is fitted
    model.save(tmp_path / "model.safetensors")
    assert same(model, t3vae.load(tmp_path / "model.safetensors"))
