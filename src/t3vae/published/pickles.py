"""A reader of pickles that runs nothing: plain values and arrays of bytes, or an error.

A pickle is a program, and Python's own machine runs whatever functions it names. This one
knows the few instructions that build tuples, lists, dicts, text, bytes, numbers and NumPy
arrays of type ``uint8``; any other instruction or name is refused.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from typing import IO, Any

from t3vae.errors import DataError

__all__ = ["Machine", "read_pickle"]

_MARK = object()
_LARGEST_MEMO = 10_000_000
_NAMES = {
    "numpy.core.multiarray _reconstruct": "reconstruct",
    "numpy._core.multiarray _reconstruct": "reconstruct",
    "numpy ndarray": "ndarray",
    "numpy dtype": "dtype",
    "_codecs encode": "encode",
}
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "MARK": lambda: _MARK,
}
_NUMBERS = {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"}
_TEXTS = {"UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
_BYTES = {"BINBYTES", "SHORT_BINBYTES", "BINBYTES8"}
_OLD_STRINGS = {"STRING", "BINSTRING", "SHORT_BINSTRING"}  # bytes of Python 2


class _Name:
    """A function or class that the pickle names; never called."""

    def __init__(self, kind: str) -> None:
        self.kind = kind


class _Type:
    """A NumPy type; only ``uint8`` is known."""


class _Array:
    """An array whose content may still come."""

    value: Any = None


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
        return Machine().run(content)
    except (ValueError, KeyError, IndexError, TypeError, OverflowError, RecursionError,
            MemoryError, AttributeError) as error:  # fmt: skip
        raise DataError(
            f"{where}: not a pickle of plain values and bytes ({error or type(error).__name__}). "
            "It was not run. Fetch the file again from its source."
        ) from error


class Machine:
    """Stack and memo of one pickle; a subclass may know other names and calls."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self, content: bytes | IO[bytes]) -> Any:
        """Return the value; a stream is left behind the end of the pickle."""
        for opcode, argument, _ in pickletools.genops(content):
            name = opcode.name
            if name == "STOP":
                return _finished(self.pop(), {})
            if name in _CONSTANTS:
                self.stack.append(_CONSTANTS[name]())
            elif name in _NUMBERS or name in _TEXTS or name in _BYTES:
                self.stack.append(argument)
            elif name in _OLD_STRINGS:
                self.stack.append(str(argument).encode("latin-1"))
            elif name in ("PROTO", "FRAME"):
                continue
            else:
                step: Callable[[Any], None] | None = getattr(self, f"_{name.lower()}", None)
                if step is None:
                    raise ValueError(f"instruction {name} is not allowed")
                step(argument)
        raise ValueError("it has no end")

    def pop(self) -> Any:
        if not self.stack or self.stack[-1] is _MARK:
            raise ValueError("an instruction finds no value")
        return self.stack.pop()

    def pop_mark(self) -> list[Any]:
        for i in range(len(self.stack) - 1, -1, -1):
            if self.stack[i] is _MARK:
                items = self.stack[i + 1 :]
                del self.stack[i:]
                return items
        raise ValueError("an instruction finds no mark")

    def top(self, kind: type) -> Any:
        if not self.stack or type(self.stack[-1]) is not kind:
            raise ValueError(f"an instruction finds no {kind.__name__}")
        return self.stack[-1]

    # -- containers --

    def _append(self, _: Any) -> None:
        item = self.pop()
        self.top(list).append(item)

    def _appends(self, _: Any) -> None:
        items = self.pop_mark()
        self.top(list).extend(items)

    def _setitem(self, _: Any) -> None:
        value, key = self.pop(), self.pop()
        self.top(dict)[_key(key)] = value

    def _setitems(self, _: Any) -> None:
        items = self.pop_mark()
        target = self.top(dict)
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[_key(key)] = value

    def _list(self, _: Any) -> None:
        self.stack.append(self.pop_mark())

    def _dict(self, _: Any) -> None:
        items = self.pop_mark()
        pairs = zip(items[::2], items[1::2], strict=True)
        self.stack.append({_key(key): value for key, value in pairs})

    def _tuple(self, _: Any) -> None:
        self.stack.append(tuple(self.pop_mark()))

    def _tuple1(self, _: Any) -> None:
        self.stack.append((self.pop(),))

    def _tuple2(self, _: Any) -> None:
        b, a = self.pop(), self.pop()
        self.stack.append((a, b))

    def _tuple3(self, _: Any) -> None:
        c, b, a = self.pop(), self.pop(), self.pop()
        self.stack.append((a, b, c))

    # -- memo --

    def _put(self, argument: Any) -> None:
        if len(self.memo) >= _LARGEST_MEMO or not self.stack or self.stack[-1] is _MARK:
            raise ValueError("nothing to remember, or too much")
        self.memo[argument] = self.stack[-1]

    _binput = _long_binput = _put

    def _memoize(self, _: Any) -> None:
        self._put(len(self.memo))

    def _get(self, argument: Any) -> None:
        self.stack.append(self.memo[argument])

    _binget = _long_binget = _get

    # -- arrays --

    def _global(self, argument: Any) -> None:
        if argument not in _NAMES:
            raise ValueError(f"{str(argument)[:80]!r} is not allowed")
        self.stack.append(_Name(_NAMES[argument]))

    def _stack_global(self, _: Any) -> None:
        name, module = self.pop(), self.pop()
        self._global(f"{module} {name}")

    def _reduce(self, _: Any) -> None:
        arguments, name = self.pop(), self.pop()
        if not isinstance(name, _Name) or not isinstance(arguments, tuple):
            raise ValueError("a call of something else than a known name")
        if name.kind == "reconstruct" and getattr(arguments[0], "kind", "") == "ndarray":
            self.stack.append(_Array())
        elif name.kind == "dtype" and arguments[0] in ("u1", b"u1", "uint8", b"uint8"):
            self.stack.append(_Type())
        elif name.kind == "encode" and arguments[1:] in (("latin1",), (b"latin1",)):
            self.stack.append(arguments[0].encode("latin-1"))
        else:
            raise ValueError(f"a call of {name.kind} with {str(arguments)[:80]}")

    def _build(self, _: Any) -> None:
        state, target = self.pop(), self.stack[-1]
        if isinstance(target, _Type):
            return  # byte order and alignment say nothing about single bytes
        if not isinstance(target, _Array) or target.value is not None:
            raise ValueError("a state for something that has none")
        target.value = _array(state)


def _key(key: Any) -> Any:
    if type(key) not in (bytes, str, int, bool, float):
        raise ValueError("a key is not text or a number")
    return key


def _array(state: Any) -> Any:
    """Return an array from the state (version, shape, type, column-major, bytes)."""
    import numpy as np

    _, shape, kind, column_major, content = state
    sizes = isinstance(shape, tuple) and all(type(n) is int and n >= 0 for n in shape)
    if not (sizes and isinstance(kind, _Type) and type(content) is bytes and len(shape) <= 8):
        raise ValueError("an array that does not hold bytes")
    flat = np.frombuffer(content, np.uint8)
    return flat.reshape(shape, order="F" if column_major is True else "C")


def _finished(value: Any, seen: dict[int, Any]) -> Any:
    """Return the value with its arrays in place; what occurs twice is done once."""
    if id(value) in seen:
        if seen[id(value)] is _MARK:
            raise ValueError("a value that holds itself")
        return seen[id(value)]
    if type(value) not in (list, tuple, dict):
        if isinstance(value, _Array) and value.value is not None:
            return value.value
        if isinstance(value, (_Array, _Name, _Type)):
            raise ValueError("an unfinished array or a bare name")
        return value
    seen[id(value)] = _MARK
    result: Any
    if type(value) is dict:
        result = {key: _finished(item, seen) for key, item in value.items()}
    elif type(value) is list:
        result = [_finished(item, seen) for item in value]
    else:
        result = tuple(_finished(item, seen) for item in value)
    seen[id(value)] = result
    return result
