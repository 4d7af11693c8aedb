"""A reader of pickles that runs nothing of theirs: plain values and arrays of bytes, or an error.

A pickle is a program. Its instructions are looked at first: those that build tuples, lists,
dicts, text, bytes and numbers are allowed, and calls of the four names below, which this module
answers itself. Python's own reader does the rest.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from typing import Any

import numpy as np

from t3vae.errors import DataError

__all__ = ["read_pickle"]

_INSTRUCTIONS = """
    PROTO FRAME STOP MARK NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT
    BINFLOAT UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8
    STRING BINSTRING SHORT_BINSTRING EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST LIST APPEND
    APPENDS EMPTY_DICT DICT SETITEM SETITEMS PUT BINPUT LONG_BINPUT MEMOIZE GET BINGET LONG_BINGET
    GLOBAL STACK_GLOBAL REDUCE BUILD
"""
_LARGEST_MEMO = 1_000_000  # the reader reserves memory up to the largest index
_PLAIN = (bytes, str, int, float, bool, type(None), np.ndarray)


class _Name:
    """A name that a pickle may say; its call gives an empty array, its type, or bytes."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, first: Any, *rest: Any) -> Any:
        if self.name == "_reconstruct" and type(first) is _Name and first.name == "ndarray":
            return np.empty(0, np.uint8)
        if self.name == "dtype" and first in ("u1", b"u1", "uint8", b"uint8"):
            return np.dtype(np.uint8)  # the one that exists already: no state changes it
        if self.name == "encode" and type(first) is str and rest in (("latin1",), (b"latin1",)):
            return first.encode("latin-1")
        raise ValueError(f"this call of {self.name} is not allowed")

    def __setstate__(self, state: object) -> None:
        raise ValueError("a state for a name")


_NAMES = {
    "numpy.core.multiarray._reconstruct": _Name("_reconstruct"),
    "numpy._core.multiarray._reconstruct": _Name("_reconstruct"),
    "numpy.ndarray": _Name("ndarray"),
    "numpy.dtype": _Name("dtype"),
    "_codecs.encode": _Name("encode"),
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if f"{module}.{name}" not in _NAMES:
            raise ValueError(f"{f'{module}.{name}'[:80]!r} is not allowed")
        return _NAMES[f"{module}.{name}"]


def read_pickle(content: bytes, where: str = "pickle") -> Any:
    """Return the value of a pickle that holds only plain values and arrays of bytes.

    Text of Python 2 is returned as bytes, as by ``pickle.loads(..., encoding="bytes")``.

    Args:
        content: the pickle.
        where: name for messages.

    Raises:
        DataError: the pickle is damaged, or holds anything else; nothing of it was run.

    Example:
        >>> import pickle
        >>> read_pickle(pickle.dumps({b"labels": [1, 2]}))
        {b'labels': [1, 2]}
    """
    try:
        _look_at(content)
        value = _Reader(io.BytesIO(content), encoding="bytes").load()
        _check(value, {})
        return value
    except Exception as error:  # whatever a damaged pickle makes of the reader
        reason = str(error) or type(error).__name__
        raise DataError(
            f"{where}: not a pickle of plain values and bytes ({reason}). "
            "It was not run. Fetch the file again from its source."
        ) from error


def _look_at(content: bytes) -> None:
    """Refuse instructions that are not allowed, a large memo, and tuples that occur twice.

    As a key of a dict, a tuple of tuples that all occur twice takes for ever.
    """
    allowed, memo, last = frozenset(_INSTRUCTIONS.split()), dict[Any, str](), ""
    for instruction, argument, _ in pickletools.genops(content):
        name = instruction.name
        if name not in allowed:
            raise ValueError(f"instruction {name} is not allowed")
        if name.endswith(("PUT", "MEMOIZE")):
            slot = len(memo) if argument is None else int(argument)
            if slot > _LARGEST_MEMO:
                raise ValueError("it remembers too much")
            memo[slot] = last
        if name.endswith("GET") and memo.get(argument, "").startswith(("TUPLE", "BUILD")):
            raise ValueError("a tuple that occurs twice")
        last = name


def _check(value: Any, open_now: dict[int, bool]) -> None:
    """Refuse all but plain values in containers; what occurs twice is looked at once."""
    if type(value) in _PLAIN:
        return
    if type(value) not in (tuple, list, dict):
        raise ValueError(f"it holds a {type(value).__name__}")
    if open_now.get(id(value)):
        raise ValueError("a value that holds itself")
    if id(value) not in open_now:
        open_now[id(value)] = True
        for item in (*value, *value.values()) if isinstance(value, dict) else value:
            _check(item, open_now)
        open_now[id(value)] = False
