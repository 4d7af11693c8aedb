"""Data, labels and latent points as users give them: converted to what a model takes, or refused.

Every public method and function of models takes its arrays through this module. Arrays, tensors,
tables of pandas and nested lists of any real type are converted, in any byte order or memory
layout. The rule for images, data of shape [C, H, W]:

- whole numbers are bytes, 0..255, whatever their type, and become shares of 255;
- floating-point numbers are taken as they are and lie in [0, 1], as decoder means do; with a
  custom decoder they may lie elsewhere, but bytes that come as such numbers are refused;
- true and false are 1 and 0.

Whole numbers whose largest is 1 could be bytes or shares and are refused. Data that are not
images are taken as they are, whatever their type.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from t3vae.errors import ConfigError, DataError
from t3vae.settings.arguments import shown

Model = Any  # a model of `base`, which imports this module

__all__ = [
    "as_array",
    "check_uniform",
    "checked",
    "data",
    "home",
    "is_checked",
    "labels",
    "latents",
    "takes_data",
    "takes_latents",
    "to_float",
]

IMAGE_AXES = 3
_COMPUTES = (torch.float32, torch.float64)
_ROUNDING = 1e-3  # how far from [0, 1] a resized image may lie
_KINDS = {
    "c": "complex numbers: give real ones",
    "M": "dates: give numbers",
    "m": "times: give numbers",
    "U": "text: give numbers",
    "S": "text: give numbers",
    "O": "objects: give numbers, for example x.astype(float)",
    "V": "records: give one array of numbers",
}


class _OfThread(threading.local):
    checked = False


_here = _OfThread()


@contextmanager
def checked() -> Iterator[None]:
    """Within a block, tensors were checked already: methods of models take them as they are."""
    before, _here.checked = _here.checked, True
    try:
        yield
    finally:
        _here.checked = before


def is_checked() -> bool:
    """Whether this thread is within :func:`checked`."""
    return _here.checked


# -- any array ---------------------------------------------------------------------------------


def as_array(x: Any, name: str = "data") -> Tensor | np.ndarray:
    """Return numbers as a tensor or an array of a real type, without a copy where that can be.

    Raises:
        DataError: they are no numbers, or an array that has to be made dense first.

    Example:
        >>> as_array([[1, 2], [3, 4]]).shape
        (2, 2)
    """
    if isinstance(x, Tensor):
        return _checked_tensor(x, name)
    family = type(x).__module__.partition(".")[0]
    if family == "scipy" and hasattr(x, "toarray"):
        raise DataError(f"{name} is a sparse {type(x).__name__}: give {name}.toarray().")
    if isinstance(x, np.ma.MaskedArray):
        if np.ma.is_masked(x):
            count = int(np.ma.count_masked(x))
            raise DataError(f"{name} has {count} masked values: fill them or remove their rows.")
        x = x.data
    if isinstance(x, (list, tuple)) and x and isinstance(x[0], Tensor):
        try:
            return _checked_tensor(torch.stack(list(x)), name)
        except (TypeError, RuntimeError) as error:
            raise DataError(f"{name}: tensors that cannot be stacked ({error}).") from error
    array = _of_pandas(x, name) if family == "pandas" else _of_numpy(x, name)
    if array.dtype.kind not in "biuf":
        reason = _KINDS.get(array.dtype.kind, "no numbers")
        if array.dtype.kind in "OUS" and array.ndim == 0:
            reason = "must be an array, a tensor, a table or nested lists of numbers"
            raise DataError(f"{name} = {shown(x)}: {reason}.")
        raise DataError(f"{name} of type {array.dtype} holds {reason}.")
    return array


def _checked_tensor(x: Tensor, name: str) -> Tensor:
    odd = (
        ("a sparse tensor", x.layout != torch.strided or x.is_nested, f"{name}.to_dense()"),
        ("a quantized tensor", x.is_quantized, f"{name}.dequantize()"),
        ("a tensor on the device meta, without numbers", x.is_meta, "a tensor with numbers"),
        ("a tensor of complex numbers", x.is_complex(), "real numbers"),
    )
    for what, found, instead in odd:
        if found:
            raise DataError(f"{name} is {what}: give {instead}.")
    return x


def _of_numpy(x: Any, name: str) -> np.ndarray:
    try:
        return np.asarray(x)
    except (ValueError, TypeError, RuntimeError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"{name} = {shown(x)}: cannot be read as one array ({first}). "
            "Rows must be equally long."
        ) from error


def _of_pandas(x: Any, name: str) -> np.ndarray:
    """Return a table, a column or an index as numbers; missing values as not-a-number."""
    table = getattr(x, "ndim", 1) == 2 and hasattr(x, "dtypes")
    kinds = list(x.dtypes.items()) if table else [("", x.dtype)]
    bad = [f"{of} ({kind})" for of, kind in kinds if getattr(kind, "kind", "O") not in "biuf"]
    if bad and not table:
        return np.asarray(x, dtype=object)
    if bad:
        listed = ", ".join(bad[:5]) + (", ..." if len(bad) > 5 else "")
        raise DataError(
            f"{name}: columns are not numeric: {listed}. Omit them, encode them, or convert "
            "them by astype(float)."
        )
    if all(isinstance(kind, np.dtype) for _, kind in kinds):
        array = np.asarray(x)
        return array.astype(np.float64) if array.dtype.kind == "O" else array  # bool beside int
    return np.asarray(x.to_numpy(dtype=np.float64, na_value=np.nan))


def tensor(array: Tensor | np.ndarray) -> Tensor:
    """Return an array of any real type and layout as a tensor that torch can compute with."""
    if isinstance(array, Tensor):
        known = array.dtype not in (torch.uint16, torch.uint32, torch.uint64)
        return array if known else _widened(array.cpu().numpy())
    kind = array.dtype
    odd = any(s < 0 or s % kind.itemsize for s in array.strides) or not array.flags.writeable
    if not kind.isnative or odd or not array.flags.aligned:
        array = np.array(array, dtype=kind.newbyteorder("="), order="C")
    return _widened(array)


def _widened(array: np.ndarray) -> Tensor:
    """Return a native array as a tensor; of types that torch hardly knows, in a wider one."""
    kind = array.dtype
    if kind == np.uint64:
        small = array.size == 0 or int(array.max()) <= np.iinfo(np.int64).max
        return torch.from_numpy(array.astype(np.int64 if small else np.float64))
    wider: dict[Any, type] = {np.dtype(np.uint16): np.int32, np.dtype(np.uint32): np.int64}
    if kind.kind == "f" and kind.itemsize > 8:
        wider[kind] = np.float64
    return torch.from_numpy(array.astype(wider[kind]) if kind in wider else array)


# -- what a model takes ------------------------------------------------------------------------


def home(model: Model) -> tuple[torch.device, torch.dtype]:
    """Return device and type of a model's parameters.

    Raises:
        ConfigError: it has no parameters, or they are of a type that it cannot compute in.
    """
    for parameter in model.parameters():
        if parameter.dtype not in _COMPUTES:
            raise ConfigError(
                f"model in {str(parameter.dtype).removeprefix('torch.')}: computes in float32 or "
                "float64. Call model.float(); fit(..., precision='bfloat16') makes convolutional "
                "networks faster."
            )
        return parameter.device, parameter.dtype
    raise ConfigError(f"{type(model).__name__} has no parameters. Give networks that have some.")


def check_uniform(model: Model) -> None:
    """Refuse a model whose parameters are of several types or on several devices.

    Raises:
        ConfigError: they are, or none can be trained.
    """
    device, dtype = home(model)
    for name, parameter in model.named_parameters():
        if (parameter.device, parameter.dtype) != (device, dtype):
            kind = str(parameter.dtype).removeprefix("torch.")
            raise ConfigError(
                f"{name} is {kind} on {parameter.device}, other parameters are "
                f"{str(dtype).removeprefix('torch.')} on {device}. Move the whole model: "
                "model.to(device=..., dtype=...)."
            )
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ConfigError("no parameter of the model is to be trained: all are frozen.")


def to_float(x: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return images of bytes as numbers in [0, 1]; other data as they are.

    Example:
        >>> to_float(torch.tensor([0, 51, 255], dtype=torch.uint8))
        tensor([0.0000, 0.2000, 1.0000])
    """
    return x.to(dtype).div_(255.0) if x.dtype == torch.uint8 else x.to(dtype)


def data(
    model: Model,
    x: Any,
    *,
    name: str = "data",
    bytes_stay: bool = False,
    least: int = 0,
) -> Tensor:
    """Return data [N, *data_shape] on the device of a model, in its type.

    Args:
        model: the model.
        x: array, tensor, table or nested lists; [N] where a data point is one number.
        name: what a message calls it.
        bytes_stay: leave images of whole numbers as bytes; :func:`to_float` makes shares of them.
        least: smallest N.

    Raises:
        DataError: no numbers, another shape, values that are not finite, images outside their
            range.
        ConfigError: the model computes in a type of its own.

    Example:
        >>> from t3vae.models.vae import VAE
        >>> data(VAE(2, 1), [[1, 2]])
        tensor([[1., 2.]])
    """
    device, dtype = home(model)
    given = tensor(as_array(x, name))
    shape = model.data_shape
    if given.dim() == 1 and shape == [1]:
        given = given.unsqueeze(1)
    if given.dim() == 0 or list(given.shape[1:]) != shape or len(given) < least:
        raise DataError(_wrong_shape(given, shape, name, least))
    images = len(shape) == IMAGE_AXES
    if images and not given.is_floating_point() and given.dtype != torch.bool:
        given = _as_bytes(given, name)
    given = given.to(device).contiguous()
    if images and given.dtype == torch.uint8:
        return given if bytes_stay else to_float(given, dtype)
    numbers = given.to(dtype)
    shares = images and _gives_shares(model.decoder)
    _check_values(numbers, name, unit=shares)
    if images and not shares:
        _check_disguised(numbers, name)
    return numbers


def _gives_shares(decoder: Any) -> bool:
    return type(decoder).__module__.startswith("t3vae.")


def _wrong_shape(given: Tensor, shape: list[int], name: str, least: int) -> str:
    wanted = ", ".join(map(str, shape))
    text = f"{name} of shape {list(given.shape)}: must be [N, {wanted}]"
    text += f" with N at least {least}," if least else ","
    text += " as the model was built for."
    if list(given.shape) == shape:
        return f"{text} For one data point, give {name}[None]."
    if len(shape) == IMAGE_AXES and list(given.shape[1:]) == [*shape[1:], shape[0]]:
        return f"{text} Channels come first: move the last axis."
    return text


def _as_bytes(x: Tensor, name: str) -> Tensor:
    """Return images of whole numbers as bytes."""
    low, high = (int(value) for value in torch.aminmax(x)) if x.numel() else (0, 0)
    kind = str(x.dtype).removeprefix("torch.")
    if low < 0 or high > 255:
        raise DataError(
            f"{name}: images of whole numbers ({kind}) from {low} to {high}: must be 0..255. "
            "Scale them to numbers in [0, 1]."
        )
    if high == 1:
        raise DataError(
            f"{name}: images of whole numbers ({kind}) from {low} to 1, which could be bytes or "
            "shares. Give numbers in [0, 1] (x * 1.0), or bytes up to 255 (x * 255)."
        )
    return x.to(torch.uint8)


def _check_values(x: Tensor, name: str, *, unit: bool) -> None:
    if x.numel() == 0:
        return
    if unit:
        low, high = (float(value) for value in torch.aminmax(x.detach()))
        if low >= -_ROUNDING and high <= 1 + _ROUNDING:
            return
    elif bool(torch.isfinite(x.detach().sum())):
        return
    finite = torch.isfinite(x.detach())
    if not bool(finite.all()):
        rows = (~finite.flatten(1)).any(1).nonzero().flatten()[:3].tolist()
        kind = str(x.dtype).removeprefix("torch.")
        raise DataError(
            f"{name}: rows {rows} hold values that are not finite in {kind}. Remove or repair them."
        )
    if unit:
        more = " Divide them by 255, or give bytes." if 1.5 < high < 256 and low >= 0 else ""
        raise DataError(
            f"{name}: images of floating-point numbers from {low:.4g} to {high:.4g}: must lie in "
            f"[0, 1].{more}"
        )


def _check_disguised(x: Tensor, name: str) -> None:
    """Refuse bytes that come as floating-point numbers: of whole numbers they would be shares."""
    values = x.detach()
    low, high = (float(v) for v in torch.aminmax(values)) if x.numel() else (0.0, 0.0)
    if low >= 0 and 1 < high <= 255 and bool((values == values.round()).all()):
        raise DataError(
            f"{name}: images of floating-point numbers that are all whole, from {low:g} to "
            f"{high:g}. Give bytes, or numbers on the scale of the decoder."
        )


def labels(model: Any, y: Any, rows: int | None = None, *, name: str = "labels") -> Tensor:
    """Return labels as int64 on the device of a conditional model.

    Args:
        model: the model; its ``classes`` is the number of classes.
        y: labels [N], of any type whose values are whole.
        rows: N; None takes labels of any shape.
        name: what a message calls them.

    Raises:
        ConfigError: there are none.
        DataError: another shape, values that are not whole, or outside 0 .. classes - 1.
    """
    if y is None:
        raise ConfigError(f"{type(model).__name__} needs the labels y [B] of its data.")
    given = tensor(as_array(y, name))
    if rows is not None and list(given.shape) != [rows]:
        raise DataError(f"{name} of shape {list(given.shape)}: must be [{rows}], one for each row.")
    if given.is_floating_point() and not bool((given == given.round()).all()):
        raise DataError(f"{name}: must be whole numbers, 0..{model.classes - 1}.")
    found = given.to(home(model)[0], torch.int64)
    if found.numel():
        low, high = (int(value) for value in torch.aminmax(found))
        if low < 0 or high >= model.classes:
            raise DataError(f"{name} {low}..{high}: must lie in 0..{model.classes - 1}.")
    return found


def latents(model: Model, z: Any) -> Tensor:
    """Return latent points [B, m] on the device of a model, in its type.

    Raises:
        DataError: another shape, which could broadcast to a wrong result.
    """
    device, dtype = home(model)
    given = tensor(as_array(z, "z"))
    if given.dim() != 2 or given.shape[1] != model.latent_dim:
        raise DataError(f"z of shape {list(given.shape)}: must be [B, {model.latent_dim}].")
    return given.to(device, dtype)


# -- methods of models -------------------------------------------------------------------------

_NEEDS_ROWS = ("loss", "loss_and_gradients")
_Method = Callable[..., Any]


def takes_data(method: _Method) -> _Method:
    """Let a method of a model take its data ``x`` and labels ``y`` in any form."""

    @functools.wraps(method)
    def with_data(self: Any, x: Any, *more: Any, **named: Any) -> Any:
        if _here.checked:
            return method(self, x, *more, **named)
        self.check_networks()
        x = data(self, x, name="x", least=int(method.__name__ in _NEEDS_ROWS))
        if self.conditional:
            if named.get("y") is not None:
                named["y"] = labels(self, named["y"], len(x), name="y")
            elif more and more[0] is not None and method.__name__ != "log_weights":
                more = (labels(self, more[0], len(x), name="y"), *more[1:])
        with checked():
            return method(self, x, *more, **named)

    return with_data


def takes_latents(method: _Method) -> _Method:
    """Let a method of a model take its latent points ``z`` and labels ``y`` in any form."""

    @functools.wraps(method)
    def with_latents(self: Any, z: Any, y: Any = None, **named: Any) -> Any:
        if not _here.checked:
            self.check_networks()
            z = latents(self, z)
            y = labels(self, y, len(z), name="y") if y is not None and self.conditional else y
        with checked():
            return method(self, z, **named) if y is None else method(self, z, y, **named)

    return with_latents
