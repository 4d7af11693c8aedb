"""Which device a run uses, known without importing torch.

The workflow asks before it plans (a job takes the token ``gpu`` only where the device is
one), and two seconds of importing torch for that would be two seconds of every start.

A token has no number. Where a job sees several accelerators, it claims one of them by a
lock file, so that jobs started side by side use different ones; the kernel frees the lock
when the process ends, however it ends.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
from pathlib import Path

from t3vae.errors import ConfigError

__all__ = ["DEVICES", "claim", "has_driver", "resolve", "visible"]

DEVICES = ("auto", "cpu", "cuda")
VISIBLE = "CUDA_VISIBLE_DEVICES"
_HIDDEN = ("", "-1", "NoDevFiles")


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
    names: dict[str, None] = {}
    for name in (part.strip() for part in given.split(",")):
        if name in _HIDDEN:
            break
        names[name] = None
    return list(names)


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
    try:
        name = _lock(names, _private(folder or _default_folder()))
    except OSError:
        name = names[os.getpid() % len(names)]
    os.environ[VISIBLE] = name
    return name


def _default_folder() -> Path:
    return Path(tempfile.gettempdir()) / f"t3vae-gpu-{os.geteuid()}"


def _private(folder: Path) -> Path:
    """Return the folder, which must be ours: in a folder for all, anybody can make it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise PermissionError(f"{folder}: belongs to somebody else")
    return folder


def _lock(names: list[str], folder: Path) -> str:
    """Lock the first free place; the lock is held until the process ends."""
    turn = 0
    while True:
        for name in names:
            path = folder / f"{name.replace('/', '-')}.{turn}"
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(handle)
            except OSError:  # a file system without locks
                os.close(handle)
                raise
            else:
                return name  # the open file is never closed: it is the claim
        turn += 1
