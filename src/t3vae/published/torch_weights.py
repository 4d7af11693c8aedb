"""Tensors of a file that ``torch.save`` wrote, read without running anything.

Such a file is a pickle beside the raw numbers of its tensors: since PyTorch 1.6 a zip
archive, before that one stream. The pickle is read by the instructions of
:mod:`t3vae.published.pickles`; of functions only those that describe a tensor are known,
and none of them is called.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from t3vae.errors import DataError
from t3vae.published.pickles import Machine

__all__ = ["read_weights"]

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_TYPES = {
    "torch HalfStorage": "<f2",
    "torch FloatStorage": "<f4",
    "torch DoubleStorage": "<f8",
    "torch LongStorage": "<i8",
}
_FUNCTIONS = {
    "torch._utils _rebuild_tensor_v2": "tensor",
    "collections OrderedDict": "dict",
}
_DAMAGE = (ValueError, KeyError, IndexError, TypeError, OverflowError, RecursionError,
           MemoryError, AttributeError, EOFError, NotImplementedError,
           zipfile.BadZipFile)  # fmt: skip


class _Known(NamedTuple):
    """A name in the pickle: a type of numbers or a function."""

    type: str | None
    function: str | None


class _Storage(NamedTuple):
    key: str
    type: str
    size: int


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class _Description(Machine):
    """Reads the pickle of a file of weights, and keeps what it says of stored numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.storages: dict[str, _Storage] = {}

    def _global(self, argument: Any) -> None:
        if argument not in _TYPES and argument not in _FUNCTIONS:
            raise ValueError(f"{str(argument)[:80]!r} is not allowed")
        self.stack.append(_Known(_TYPES.get(argument), _FUNCTIONS.get(argument)))

    def _binpersid(self, _: Any) -> None:
        kind, known, key, _place, size, *view = self.pop()
        if kind != "storage" or type(known) is not _Known or known.type is None or any(view):
            raise ValueError("numbers of a type that is not known")
        if type(key) is not str or type(size) is not int or size < 0:
            raise ValueError("numbers without a name or a size")
        storage = _Storage(key, known.type, size)
        if self.storages.setdefault(key, storage) != storage:
            raise ValueError(f"two descriptions of the numbers {key[:80]!r}")
        self.stack.append(storage)

    def _reduce(self, _: Any) -> None:
        arguments, known = self.pop(), self.pop()
        if type(known) is not _Known or type(arguments) is not tuple:
            raise ValueError("a call of something else than a known name")
        if known.function == "dict" and not arguments:
            self.stack.append({})
        elif known.function == "tensor" and type(arguments[0]) is _Storage:
            offset, shape, stride = arguments[1:4]
            numbers = (offset, *shape, *stride)
            if len(shape) != len(stride) or any(type(n) is not int or n < 0 for n in numbers):
                raise ValueError("a tensor of no shape")
            self.stack.append(_Tensor(arguments[0], offset, tuple(shape), tuple(stride)))
        else:
            raise ValueError("a call that makes no tensor")

    def _build(self, _: Any) -> None:
        self.pop()  # versions of layers, kept beside the dictionary
        self.top(dict)


def read_weights(path: Path) -> dict[str, NDArray[Any]]:
    """Return the tensors of a state dictionary by name.

    Args:
        path: a file written by ``torch.save(net.state_dict(), path)``, in either format.

    Raises:
        DataError: no such file, a damaged one, or one that holds anything else than tensors
            by name; nothing of it was run.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}).") from error
    try:
        archive = content.startswith(b"PK\x03\x04")
        tree, numbers = _from_archive(content) if archive else _from_stream(content)
        if type(tree) is not dict:
            raise ValueError(f"it holds a {type(tree).__name__}")
        return {str(name): _array(tensor, numbers) for name, tensor in tree.items()}
    except _DAMAGE as error:
        raise DataError(
            f"{path}: not a file of weights by torch.save ({error or type(error).__name__}). "
            "It was not run. Fetch the file again from its source."
        ) from error


def _from_archive(content: bytes) -> tuple[Any, dict[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = archive.namelist()
        (description,) = [name for name in names if name.endswith("/data.pkl")]
        if any(item.compress_type != zipfile.ZIP_STORED for item in archive.infolist()):
            raise ValueError("it is compressed, which torch.save does not do")
        folder = description.removesuffix("data.pkl")
        order = f"{folder}byteorder"
        if order in names and archive.read(order) != b"little":
            raise ValueError("its bytes are in another order")
        start = f"{folder}data/"
        numbers = {n.removeprefix(start): archive.read(n) for n in names if n.startswith(start)}
        return _Description().run(archive.read(description)), numbers


def _from_stream(content: bytes) -> tuple[Any, dict[str, bytes]]:
    stream = io.BytesIO(content)
    magic, protocol, system = (_Description().run(stream) for _ in range(3))
    if (magic, protocol) != (_MAGIC, _PROTOCOL) or system.get("little_endian") is not True:
        raise ValueError("its first lines are others")
    description = _Description()
    tree = description.run(stream)
    numbers = {}
    for key in _Description().run(stream):
        storage = description.storages[key]
        if int.from_bytes(stream.read(8), "little") != storage.size:
            raise ValueError("numbers of another size than described")
        numbers[key] = stream.read(storage.size * np.dtype(storage.type).itemsize)
    return tree, numbers


def _array(tensor: Any, numbers: dict[str, bytes]) -> NDArray[Any]:
    if type(tensor) is not _Tensor:
        raise ValueError(f"it holds a {type(tensor).__name__} where a tensor must be")
    storage = tensor.storage
    flat = np.frombuffer(numbers[storage.key], storage.type)
    if len(flat) != storage.size:
        raise ValueError(f"it has {len(flat)} numbers where {storage.size} must be")
    step = 1
    for size, stride in zip(reversed(tensor.shape), reversed(tensor.stride), strict=True):
        if size > 1 and stride != step:
            raise ValueError("a tensor that is not in the order of its rows")
        step *= size
    if tensor.offset + step > len(flat):
        raise ValueError("a tensor that is larger than its numbers")
    return flat[tensor.offset : tensor.offset + step].reshape(tensor.shape)
