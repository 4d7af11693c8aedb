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
from t3vae.training.batches import Rows

__all__ = [
    "encode",
    "fit_latent",
    "reconstruct",
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


def _rows(model: Model, x: Any, labels: Any, least: int = 0) -> Rows:
    model.check_networks()
    return Rows.of(model, x, labels, least=least)


def _blocks(model: Model, rows: Rows) -> Iterator[tuple[Tensor, ...]]:
    """Yield what a model takes, in blocks; no rows are a block, too."""
    size = _rows_at_once(model)
    for start in range(0, max(1, len(rows)), size):
        yield rows[start : start + size].inputs()


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
    return _encode(model, _rows(model, x, labels), seed)


@torch.no_grad()
def _encode(model: Model, rows: Rows, seed: int) -> Tensor:
    with model.stream(seed, "sample/encode"), inputs.checked():
        return torch.cat([model.encode(*block).sample() for block in _blocks(model, rows)])


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
    rows = _rows(model, x, labels, least=1)
    encodings = _encode(model, rows, seed)
    if model.conditional:
        return _fit_classes(model, rows, encodings, seed=seed, **options)
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
    model: Any, rows: Any, encodings: Tensor, *, seed: int, **options: Any
) -> TMixture:
    """Fit one t distribution to the encodings of each class."""
    options |= {"max_components": 1}
    fits = []
    for label in range(model.classes):
        index = torch.eq(rows.y, label).nonzero().flatten()
        if not len(index):
            raise DataError(f"class {label} has no row to fit its latent distribution to.")
        chosen, count = [encodings[index]], len(index)
        if count < _CLASS_ENCODINGS:
            more = torch.Size((-(-(_CLASS_ENCODINGS - count) // count),))
            with model.stream(seed, "sample/encode_class", label), inputs.checked():
                again = _blocks(model, rows[index])
                chosen += [model.encode(*block).sample(more).flatten(0, 1) for block in again]
        points = torch.cat(chosen).cpu().double().numpy()
        fits.append(fit_t_mixture(points, seed=seed, **options))
    parts = [
        np.concatenate([getattr(fit, name) for fit in fits]) for name in ("loc", "scale", "nu")
    ]
    return _use(model, encodings, [np.full(len(fits), 1 / len(fits)), *parts])


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
    rows = _rows(model, x, labels)
    with model.stream(seed, "sample/reconstruct"), inputs.checked():
        found = (model.reconstruct(*block) for block in _blocks(model, rows))
        return torch.cat([to_bytes(block).cpu() if images else block for block in found])
