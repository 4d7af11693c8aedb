"""Typed errors: where, what was given, what is allowed, what to do.

Every error that a user can cause is a :class:`T3VAEError`. The command line prints
its message without a traceback and ends with its ``exit_status``: 2 for a mistake in
the input, 1 for a run that failed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = [
    "CheckpointError",
    "ConfigError",
    "DataError",
    "DivergedError",
    "MetricError",
    "RunLockedError",
    "T3VAEError",
]


_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


class T3VAEError(Exception):
    """Base class of all errors of this package.

    A message is the same each time: addresses in memory, which other libraries write into the
    reasons that it quotes, are left out.

    Example:
        >>> str(DataError("a.png: not an image (<_io.BytesIO object at 0x7f00>)."))
        'a.png: not an image (<_io.BytesIO object>).'
    """

    exit_status = 1

    def __init__(self, message: str = "") -> None:
        super().__init__(_ADDRESS.sub("", str(message)))


class ConfigError(T3VAEError):
    """One or more problems in parameters or arguments; ``problems`` holds one line each.

    Example:
        >>> str(ConfigError("nu = 1.5: must be greater than 2. Try 2.5."))
        'nu = 1.5: must be greater than 2. Try 2.5.'
    """

    exit_status = 2

    def __init__(self, problems: str | Sequence[str]) -> None:
        lines = [problems] if isinstance(problems, str) else problems
        self.problems: list[str] = [_ADDRESS.sub("", line) for line in lines]
        super().__init__("\n".join(self.problems))


class DataError(T3VAEError):
    """A data file is missing, damaged or not what it should be."""


class CheckpointError(T3VAEError):
    """Weights or resume state are missing, damaged or belong to something else."""


class RunLockedError(T3VAEError):
    """Another process is training the same run."""


class DivergedError(T3VAEError):
    """The loss became infinite or not a number."""


class MetricError(T3VAEError):
    """A metric was asked for what it cannot compute."""
