"""What is drawn from a trained model: encodings, a fitted latent law, new data."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from t3vae import seeding
from t3vae.distributions import TMixture
from t3vae.mixtures import fit_t_mixture
from t3vae.models.base import Model

__all__ = ["draw", "encode", "fit_latent", "reconstruct"]

_BLOCK = 8192


def _blocks(model: Model, x: Any) -> Any:
    """Yield ``x`` in blocks on the model's device."""
    device = next(model.parameters()).device
    for start in range(0, len(x), _BLOCK):
        block = x[start : start + _BLOCK]
        tensor = block if isinstance(block, Tensor) else torch.from_numpy(np.array(block))
        yield tensor.to(device, torch.float32)


@torch.no_grad()
def encode(model: Model, x: Any, *, seed: int) -> Tensor:
    """Return one draw of q(z | x) for each row: the aggregate posterior, [N, m].

    Args:
        model: trained model.
        x: data, [N, *data_shape].
        seed: root seed.
    """
    with seeding.torch_stream(seed, "sample/encode"):
        return torch.cat([model.encode(block).sample() for block in _blocks(model, x)])


def fit_latent(model: Model, x: Any, *, seed: int = 0, **options: Any) -> TMixture:
    """Fit a t mixture to the encodings of ``x`` and set it as the model's law ``fitted``.

    Args:
        model: trained model.
        x: training data, [N, *data_shape].
        seed: root seed of encodings and fit.
        options: see :func:`t3vae.mixtures.fit_t_mixture`.

    Returns:
        The law, a mixture of t laws with diagonal scales.
    """
    encodings = encode(model, x, seed=seed)
    return set_from_encodings(model, encodings, seed=seed, **options)


def set_from_encodings(
    model: Model, encodings: Tensor, *, seed: int = 0, **options: Any
) -> TMixture:
    """Fit the law ``fitted`` to encodings [N, m] that are at hand already."""
    fit = fit_t_mixture(encodings.cpu().double().numpy(), seed=seed, **options)
    parts = [fit.weights, fit.loc, fit.scale, fit.nu]
    law = TMixture(*[torch.as_tensor(np.asarray(part)).to(encodings) for part in parts])
    model.set_fitted(law)
    return law


def draw(
    model: Model, n: int, latent: str, *, seed: int, mean: bool = False
) -> tuple[Tensor, Tensor]:
    """Return latent points [n, m] of a law and the data drawn from them, [n, *data_shape].

    A model whose alternative law is its prior gives the same draws under both names.
    """
    same = latent == "alternative" and type(model).alternative is Model.alternative
    with seeding.torch_stream(seed, f"sample/{'prior' if same else latent}"):
        return model.sample_pairs(n, latent, mean=mean)


@torch.no_grad()
def reconstruct(model: Model, x: Any, *, seed: int) -> Tensor:
    """Return the reconstruction of each row, [N, *data_shape]."""
    with seeding.torch_stream(seed, "sample/reconstruct"):
        return torch.cat([model.reconstruct(block) for block in _blocks(model, x)])
