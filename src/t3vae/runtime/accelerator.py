"""Whether a device can be used here, asked of torch before anything is computed.

:mod:`t3vae.runtime.device` resolves ``auto`` for the command line without torch; this module
says, in one message, why a device that was named cannot be used and which can.
"""

from __future__ import annotations

import os
import warnings
from typing import Any

import torch

from t3vae.errors import ConfigError

__all__ = ["usable", "working"]


def usable(device: Any) -> torch.device:
    """Return a device that torch can compute on.

    Args:
        device: a name such as ``cpu``, ``cuda``, ``cuda:1``, ``mps`` or ``auto`` (the accelerator
            where there is one), or a ``torch.device``.

    Raises:
        ConfigError: an unknown name, no such device here, or no driver for it.

    Example:
        >>> usable("cpu")
        device(type='cpu')
    """
    if isinstance(device, str) and device == "auto":
        return torch.device(working()[-1].partition(":")[0])
    try:
        chosen = torch.device(device)
    except (RuntimeError, TypeError, ValueError) as error:
        shown = repr(device) if isinstance(device, str) else f"<{type(device).__name__}>"
        raise ConfigError(f"device = {shown}: not a device. {_remedy()}") from error
    reason = _reason(chosen)
    if reason is not None:
        raise ConfigError(f"device = {str(chosen)!r}: {reason}. {_remedy()}")
    return chosen


def working() -> list[str]:
    """Return the names of the devices that torch can use here, ``cpu`` first."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return ["cpu", *mps, *(f"cuda:{index}" for index in range(count))]


def _remedy() -> str:
    return f"Devices that work here: {', '.join(working())}. Use one of them, as in --device cpu."


def _reason(device: torch.device) -> str | None:
    """Return why a device cannot be used, or None where it can."""
    if device.type == "cpu":
        return None
    if device.type == "cuda":
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            available = torch.cuda.is_available()
        if not available:
            return f"no CUDA device can be used here ({_why(said)})"
        if (device.index or 0) >= torch.cuda.device_count():
            return f"there are {torch.cuda.device_count()} CUDA devices here, counted from 0"
    try:
        torch.zeros(1, device=device).cpu()
    except Exception as error:  # each backend has exceptions of its own
        first = (str(error).splitlines() or [type(error).__name__])[0]
        return f"cannot be used here ({first})"
    return None


def _why(said: list[warnings.WarningMessage]) -> str:
    if torch.version.cuda is None and torch.version.hip is None:
        return "this torch was built without CUDA"
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if hidden is not None and hidden.strip() in ("", "-1"):
        return f"CUDA_VISIBLE_DEVICES is {hidden!r}, which hides all"
    if said:
        return str(said[0].message).splitlines()[0].partition("(Triggered")[0].strip().rstrip(".")
    return "no driver, or none that this torch can use"
