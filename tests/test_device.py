"""Which device `auto` means, on file systems made up for the test."""

from __future__ import annotations

import pytest

from t3vae import device
from t3vae.errors import ConfigError


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A machine with an accelerator and its driver."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(device.shutil, "which", lambda name: None)
    for name in ("dev/nvidia0", "dev/nvidiactl", "proc/driver/nvidia/version"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_driver_and_device(root):
    assert device.has_driver(root)


@pytest.mark.parametrize("lacking", ["dev/nvidia0", "proc/driver/nvidia/version"])
def test_one_of_both_is_not_enough(root, lacking):
    (root / lacking).unlink()
    assert not device.has_driver(root)


@pytest.mark.parametrize("hidden", ["", "-1", "NoDevFiles"])
def test_hidden_devices(root, monkeypatch, hidden):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert not device.has_driver(root)


def test_resolve(monkeypatch):
    for there, expected in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(device, "has_driver", lambda there=there: there)
        assert device.resolve("auto") == expected
    assert device.resolve("cuda") == "cuda"
    with pytest.raises(ConfigError, match="auto, cpu, cuda"):
        device.resolve("tpu")
