"""Which device a run uses, known without importing torch.

The workflow asks before it plans (a job takes the token ``gpu`` only where the device is
one), and two seconds of importing torch for that would be two seconds of every start.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from t3vae.errors import ConfigError

__all__ = ["DEVICES", "has_driver", "resolve"]

DEVICES = ("auto", "cpu", "cuda")


def resolve(name: str) -> str:
    """Return ``"cpu"`` or ``"cuda"`` for ``"auto"``, ``"cpu"`` or ``"cuda"``.

    Raises:
        ConfigError: any other name.

    Example:
        >>> resolve("cpu")
        'cpu'
    """
    if name not in DEVICES:
        raise ConfigError(
            f"device = {name!r}: not a device. Allowed are {', '.join(DEVICES)}; "
            "`auto` takes the accelerator where there is one."
        )
    if name == "auto":
        return "cuda" if has_driver() else "cpu"
    return name


def has_driver(root: Path = Path("/")) -> bool:
    """Return whether a CUDA driver and a visible device are there.

    Args:
        root: folder that stands for the root of the file system.
    """
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1", "NoDevFiles"):
        return False
    devices = any((root / "dev").glob("nvidia[0-9]*")) or (root / "dev/dxg").exists()
    driver = (root / "proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi")
    return bool(devices and driver)
