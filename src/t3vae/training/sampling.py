"""What is drawn from a trained model: encodings, a fitted latent distribution, new data.

Images go through the networks in blocks whose maps fit in memory, come from decoder means,
and leave as bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from t3vae.errors import DataError
from t3vae.maths.distributions import TMixture
from t3vae.maths.mixtures import fit_t_mixture
from t3vae.models import inputs
from t3vae.models.base import Model, check_model
from t3vae.settings import arguments
from t3vae.settings.config import LatentFit

__all__ = [
    "encode",
    "fit_latent",
    "reconstruct",
    "sample",
    "sample_images",
    "set_from_encodings",
    "to_bytes",
]

_BLOCK = 8192
# Pixels in a block of images: the largest map of the widest network takes 128 numbers each.
_PIXELS = 2**19
# Encodings that the distribution of a class is fitted to, at least: rare classes are encoded again.
_CLASS_ENCODINGS = 256


def to_bytes(x: Tensor) -> Tensor:
    """Return images in [0, 1] as bytes, rounded.

    Example:
        >>> to_bytes(torch.tensor([0.0, 0.2, 1.5]))
        tensor([  0,  51, 255], dtype=torch.uint8)
    """
    return x.mul(255.0).round_().clamp_(0, 255).to(torch.uint8)


def _rows_at_once(model: Model) -> int:
    if len(model.data_shape) != 3:
        return _BLOCK
    return max(1, min(_BLOCK, _PIXELS // (model.data_shape[1] * model.data_shape[2])))


def _blocks(model: Model, x: Any, labels: Any = None) -> Iterator[tuple[Tensor, ...]]:
    """Yield ``x``, with labels for a conditional model, in blocks on the model's device.

    Raises:
        DataError: data or labels do not fit the model.
    """
    size = _rows_at_once(model)
    model.check_networks()
    if model.conditional and labels is None:
        raise DataError(f"{type(model).__name__} is conditional: give the labels of the data.")
    rows = inputs.as_array(x)
    count = len(rows) if rows.ndim else 0
    known = inputs.labels(model, labels, count) if model.conditional else None
    inputs.check_bytes(model, rows)
    for start in range(0, max(1, count), size):  # no rows are a block, too
        part = slice(start, start + size)
        block = inputs.data(model, rows[part] if rows.ndim else rows, part=True)
        yield (block,) if known is None else (block, known[part])


@torch.no_grad()
def encode(model: Model, x: Any, *, seed: int, labels: Any = None) -> Tensor:
    """Return one draw of q(z | x) for each row: the aggregate posterior, [N, m].

    Args:
        model: trained model.
        x: data, [N, *data_shape]; a single column may be [N].
        seed: root seed.
        labels: labels [N], for conditional models.

    Raises:
        DataError: the data do not fit the model.
    """
    with model.stream(seed, "sample/encode"), inputs.checked():
        blocks = _blocks(model, x, labels)
        return torch.cat([model.encode(*block).sample() for block in blocks])


def fit_latent(
    model: Model, x: Any, *, seed: int = 0, labels: Any = None, **options: Any
) -> TMixture:
    """Fit a t mixture to the encodings of ``x`` and set it as the model's distribution ``fitted``.

    A conditional model gets one t distribution for each class, with equal weights.

    Args:
        model: trained model.
        x: training data, [N, *data_shape]; a single column may be [N].
        seed: root seed of encodings and fit.
        labels: labels [N], for conditional models.
        options: see :func:`t3vae.maths.mixtures.fit_t_mixture`; checked as ``fit`` of a block
            of ``sampling`` in ``params.yaml``.

    Returns:
        The distribution, a mixture of t distributions with diagonal scales.

    Raises:
        ConfigError: an option is unknown or out of range.
        DataError: the data do not fit the model, or there are too few.
    """
    check_model(model)
    options = arguments.check(LatentFit, options)
    seed = arguments.seed(seed)
    encodings = encode(model, x, seed=seed, labels=labels)
    if model.conditional:
        known = inputs.labels(model, labels, len(encodings)).cpu().numpy()
        return _fit_classes(model, inputs.as_array(x), known, encodings, seed=seed, **options)
    return set_from_encodings(model, encodings, seed=seed, **options)


def set_from_encodings(
    model: Model, encodings: Tensor, *, seed: int = 0, **options: Any
) -> TMixture:
    """Fit the distribution ``fitted`` to encodings [N, m] that are at hand already."""
    fit = fit_t_mixture(encodings.cpu().double().numpy(), seed=seed, **options)
    return _use(model, encodings, [fit.weights, fit.loc, fit.scale, fit.nu])


def _use(model: Model, like: Tensor, parts: list[Any]) -> TMixture:
    distribution = TMixture(*[torch.as_tensor(np.asarray(part)).to(like) for part in parts])
    model.set_fitted(distribution)
    return distribution


@torch.no_grad()
def _fit_classes(
    model: Any, x: Any, labels: np.ndarray, encodings: Tensor, *, seed: int, **options: Any
) -> TMixture:
    """Fit one t distribution to the encodings of each class."""
    options |= {"max_components": 1}
    fits = []
    for label in range(model.classes):
        rows = np.flatnonzero(labels == label)
        if not len(rows):
            raise DataError(f"class {label} has no row to fit its latent distribution to.")
        chosen = [encodings[torch.from_numpy(rows).to(encodings.device)]]
        with model.stream(seed, "sample/encode_class", label), inputs.checked():
            missing = _CLASS_ENCODINGS - len(rows)
            if missing > 0:
                data = x[rows] if isinstance(x, np.ndarray) else x[torch.from_numpy(rows)]
                again = _blocks(model, data, labels[rows])
                more = -(-missing // len(rows))
                chosen += [
                    model.encode(*b).sample(torch.Size((more,))).flatten(0, 1) for b in again
                ]
        points = torch.cat(chosen).cpu().double().numpy()
        fits.append(fit_t_mixture(points, seed=seed, **options))
    parts = [
        np.concatenate([getattr(fit, name) for fit in fits]) for name in ("loc", "scale", "nu")
    ]
    return _use(model, encodings, [np.full(len(fits), 1 / len(fits)), *parts])


def sample(
    model: Model, n: int, latent: str, *, seed: int, mean: bool = False
) -> tuple[Tensor, Tensor]:
    """Return latent points [n, m] of a distribution and the data drawn from them, [n, *data_shape].

    A model whose alternative distribution is its prior gives the same samples under both names.
    """
    return model.sample_pairs(n, latent, mean=mean, seed=seed)


@torch.no_grad()
def sample_images(
    model: Model, n: int, latent: str, *, seed: int
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return latent points [n, m], decoder means as bytes, and labels of conditional models."""
    n, size = arguments.whole("n", n, 0), _rows_at_once(model)
    latents, images, labels = [], [], []
    with model.stream(seed, model.latent_stream(latent)):
        for start in range(0, max(1, n), size):
            count = min(size, n - start)
            if model.conditional:
                y, z, x = model.sample_labelled(count, latent, mean=True)  # type: ignore[operator]
                labels.append(y)
            else:
                z, x = model.sample_pairs(count, latent, mean=True)
            latents.append(z)
            images.append(to_bytes(x).cpu())
    return torch.cat(latents), torch.cat(images), torch.cat(labels) if labels else None


@torch.no_grad()
def reconstruct(model: Model, x: Any, *, seed: int, labels: Any = None) -> Tensor:
    """Return the reconstruction of each row, [N, *data_shape]; bytes where ``x`` is."""
    images = str(getattr(x, "dtype", "")).endswith("uint8") and len(model.data_shape) == 3
    with model.stream(seed, "sample/reconstruct"), inputs.checked():
        found = (model.reconstruct(*block) for block in _blocks(model, x, labels))
        return torch.cat([to_bytes(block).cpu() if images else block for block in found])
