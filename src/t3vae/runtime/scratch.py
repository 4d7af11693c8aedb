"""The resume state of a training: where it lies, who holds it, how it is saved.

A training that starts looks for the state of the same configuration, sources and data
in its scratch folder and goes on from there. One process holds the folder's lock; the
kernel frees it when the process dies. SIGTERM, as a cluster sends it before it takes a
machine back, saves the state and ends the process with status 143. A finished training
keeps its final state until its results have been read: results may be lost after their
job has ended, as when a scheduler calls the job failed all the same.
"""

from __future__ import annotations

import json
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from t3vae.errors import DataError, DivergedError, RunLockedError
from t3vae.runtime import files

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["TERMINATED", "Scratch", "TerminationFlag"]

TERMINATED = 143
SAVE_SECONDS = 10.0
# How long to wait for a lock: a training that has just ended may still be removing its folder.
_PATIENCE = 0.2


class TerminationFlag:
    """Set when SIGTERM arrives, within a ``with`` block; elsewhere signals are untouched.

    Example:
        >>> with TerminationFlag() as flag:
        ...     flag.raised
        False
    """

    def __init__(self) -> None:
        self.raised = False
        self._previous: Any = None

    def __enter__(self) -> TerminationFlag:
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGTERM, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGTERM, self._previous)

    def _handle(self, *_: object) -> None:
        self.raised = True


class Scratch:
    """The scratch folder of one run, or nothing when no folder is given.

    Args:
        folder: folder of this run, or None to keep no state.
        key: digest of configuration, sources and data; a state with another is not used.
    """

    def __init__(self, folder: Path | None, key: str) -> None:
        self.folder = Path(folder) if folder is not None else None
        self.key = key
        self.interval = SAVE_SECONDS  # between two savings, which change no result
        self._saved_at = time.monotonic()
        self._cleared = False

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run; a second process on it ends with a message and touches nothing."""
        if self.folder is None:
            yield
            return
        held = self._take(self.folder)
        try:
            yield
        finally:
            held.release()
            if self._cleared:  # where an open file cannot be removed, it goes now
                shutil.rmtree(self.folder, ignore_errors=True)

    def _take(self, folder: Path) -> FileLock:
        """Return the lock, held; again when its folder was removed in between."""
        while True:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                held = FileLock(folder / "lock", timeout=_PATIENCE)
                held.acquire()
            except FileNotFoundError:
                continue  # removed after success, between the two lines
            except Timeout as error:
                raise RunLockedError(
                    f"{folder}: another process is training this run. Wait for it, or stop "
                    "it, then run again."
                ) from error
            except OSError as error:
                raise DataError(files.cannot_write(folder, error)) from error
            if (folder / "lock").exists():
                return held
            held.release()

    def due(self) -> bool:
        """Tell whether it is time to save again."""
        return self.folder is not None and time.monotonic() - self._saved_at >= self.interval

    def save(self, tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> None:
        """Write the state, as one file."""
        if self.folder is None:
            return
        started = time.monotonic()
        arrays = {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}
        metadata = {"key": self.key, "record": json.dumps(record)}
        path = self.folder / "state.safetensors"
        files.write_tensors(path, arrays, metadata, finite=False)
        self._saved_at = time.monotonic()
        # large networks: saving may take a twentieth of the time
        self.interval = max(self.interval, 20 * (self._saved_at - started))

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return the saved tensors and record, or None when there is nothing to go on from.

        A damaged state, or one of another key, is not used: the run starts afresh.

        Raises:
            DataError: the state is there and may not be read.
            DivergedError: an earlier try of the same run diverged; the same message again.
        """
        import torch

        if self.folder is None:
            return None
        with suppress(DataError, AttributeError):  # no marker, or a damaged one
            failure = files.read_json(self.folder / "failed.json")
            if failure.get("key") == self.key:
                raise DivergedError(str(failure.get("message")))
        path = self.folder / "state.safetensors"
        try:
            with open(path, "rb"):
                pass
        except FileNotFoundError:
            return None
        except OSError as error:  # sound perhaps: starting afresh would write over it
            raise DataError(files.cannot_read(path, error)) from error
        try:
            metadata = files.read_tensors_header(path)
            if metadata.get("key") != self.key:
                return None
            record = json.loads(metadata["record"])
            arrays = files.read_tensors(path)
        except (DataError, KeyError, ValueError):
            return None
        return {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}, record

    def mark_failed(self, message: str) -> None:
        """Leave a note, so that a retry of the same run stops at once with the same message."""
        if self.folder is not None:
            files.write_json(self.folder / "failed.json", {"key": self.key, "message": message})

    def clear(self) -> None:
        """Remove the folder, by the process that holds it."""
        if self.folder is not None:
            self._cleared = True
            shutil.rmtree(self.folder, ignore_errors=True)

    def discard(self) -> bool:
        """Remove a folder that is no longer needed, and tell whether it is gone.

        A training that is at work on it keeps it.
        """
        if self.folder is None or not self.folder.is_dir():
            return True
        with suppress(RunLockedError, DataError), self.lock():
            self.clear()
        return not self.folder.is_dir()
