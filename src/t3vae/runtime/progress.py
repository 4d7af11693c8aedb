"""Progress bars with the time left; silent when the output is not a terminal."""

from __future__ import annotations

import sys
import threading
from typing import Any

from tqdm import tqdm

__all__ = ["bar"]

# tqdm's own lock is one between processes and starts a process to look after it.
tqdm.set_lock(threading.RLock())


def bar(total: int, label: str, *, initial: int = 0, unit: str = "step") -> Any:
    """Return a progress bar on standard error, or a silent one where nobody looks.

    Example:
        >>> with bar(3, "demo") as progress:
        ...     progress.update(3)
    """
    return tqdm(
        total=total,
        initial=initial,
        desc=label,
        unit=unit,
        disable=not sys.stderr.isatty(),
        file=sys.stderr,
        leave=True,
        dynamic_ncols=True,
        mininterval=0.2,
    )
