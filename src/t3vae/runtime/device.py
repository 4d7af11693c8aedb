"""Which device a run uses, known without importing torch.

The workflow asks before it plans (a job takes the token ``gpu`` only where the device is
one), and two seconds of importing torch for that would be two seconds of every start.

A token has no number. Where a job sees several accelerators, it claims one of them by a
lock file, so that jobs started side by side use different ones; the lock is free again
when the process ends, however it ends.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from itertools import takewhile
from pathlib import Path
from typing import Any

from t3vae.errors import ConfigError

__all__ = ["DEVICES", "claim", "has_driver", "resolve", "visible"]

DEVICES = ("auto", "cpu", "cuda")
VISIBLE = "CUDA_VISIBLE_DEVICES"
_HIDDEN = ("", "-1", "NoDevFiles")
_CLAIMS: list[Any] = []
"""Locks that this process holds until it ends."""


def resolve(name: str) -> str:
    """Return ``"cpu"`` or ``"cuda"`` for ``"auto"``, ``"cpu"`` or ``"cuda"``.

    Raises:
        ConfigError: any other name.

    Example:
        >>> resolve("cpu")
        'cpu'
    """
    if name not in DEVICES:
        one = " Choose one of several with the variable CUDA_VISIBLE_DEVICES."
        raise ConfigError(
            f"device = {name!r}: not a device. Allowed are {', '.join(DEVICES)}; "
            "`auto` takes the accelerator where there is one."
            + (one if str(name).startswith("cuda:") else "")
        )
    if name == "auto":
        return "cuda" if has_driver() else "cpu"
    return name


def has_driver(root: Path = Path("/")) -> bool:
    """Return whether a CUDA driver and a visible device are there.

    Args:
        root: folder that stands for the root of the file system.
    """
    if os.environ.get(VISIBLE, "0").strip() in _HIDDEN:
        return False
    devices = any((root / "dev").glob("nvidia[0-9]*")) or (root / "dev/dxg").exists()
    driver = (root / "proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi")
    return bool(devices and driver)


def visible(root: Path = Path("/")) -> list[str]:
    """Return the names of the accelerators that this process may use.

    These are the entries of ``CUDA_VISIBLE_DEVICES`` (numbers or UUIDs) up to the first that
    hides the rest; where it is not set, one number for each device file.

    Args:
        root: folder that stands for the root of the file system.
    """
    given = os.environ.get(VISIBLE)
    if given is None:
        return [str(number) for number, _ in enumerate((root / "dev").glob("nvidia[0-9]*"))]
    names = (part.strip() for part in given.split(","))
    return list(dict.fromkeys(takewhile(lambda name: name not in _HIDDEN, names)))


def claim(root: Path = Path("/"), folder: Path | None = None) -> str | None:
    """Take one of several accelerators for this process alone; others become invisible.

    The first that nobody holds is taken. When all are held, the jobs share: the next takes
    the first that one job holds, then the first that two hold. Must run before CUDA starts.

    Args:
        root: folder that stands for the root of the file system.
        folder: folder of the lock files; by default one of the user, in the folder for
            temporary files. Where locks cannot be had, the number of the process chooses.

    Returns:
        The name of the accelerator, or None where there are not several to choose from.
    """
    names = visible(root)
    if len(names) < 2:
        return None
    place = folder or Path(tempfile.gettempdir()) / f"t3vae-gpu-{os.geteuid()}"
    try:
        name = _lock(names, place)
    except (OSError, NotImplementedError):  # no folder of ours, or no locks in it
        name = names[os.getpid() % len(names)]
    os.environ[VISIBLE] = name
    return name


def _lock(names: list[str], folder: Path) -> str:
    """Lock the first free place in a folder that must be ours: anybody may have made it."""
    from filelock import FileLock, Timeout

    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise PermissionError(f"{folder}: belongs to somebody else")
    turn = 0
    while True:
        for name in names:
            lock = FileLock(folder / f"{name.replace('/', '-')}.{turn}", timeout=0, mode=0o600)
            try:
                lock.acquire()
            except Timeout:
                continue
            _CLAIMS.append(lock)
            return name
        turn += 1
