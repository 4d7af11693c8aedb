"""A training step whose derivatives are written out, for two perceptrons and a squared error.

On small batches a training step costs the number of its operations and of autograd's
nodes; without the nodes it takes two thirds of the time.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from t3vae.networks.mlp import MLP

__all__ = ["Slopes", "autoencoder_step"]

Slopes = tuple[Tensor, Tensor | None, Tensor, Tensor | None]
"""A regularizer [B] and its derivatives by mu, logvar and z, [B, m]; None where it is zero."""


@torch.no_grad()
def autoencoder_step(
    encoder: MLP,
    decoder: MLP,
    x: Tensor,
    noise: Tensor,
    *,
    weight: float,
    beta: float,
    regularizer: Callable[[Tensor, Tensor, Tensor], Slopes],
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Evaluate an objective and add its gradients to the ``grad`` of all parameters.

    .. math:: \overline{w\,\|x-d(z)\|^2} + \beta\,\overline{R(\mu,\log\Sigma,z)},\qquad
              (\mu,\log\Sigma) = e(x),\quad z = \mu + e^{\frac12\log\Sigma}\odot\varepsilon

    Args:
        encoder, decoder: perceptrons [B, n] to [B, 2m] and [B, m] to [B, n].
        x: data, [B, n].
        noise: a draw from the standard distribution, [B, m].
        weight: w.
        beta: weight of the regularizer.
        regularizer: R with its derivatives.

    Returns:
        The batch means: total, reconstruction, regularizer.
    """
    encoded, inputs = encoder.record(x)
    mu, logvar = encoded.chunk(2, 1)
    spread = torch.exp(0.5 * logvar).mul_(noise)
    z = mu + spread
    decoded, latents = decoder.record(z)
    error = decoded - x
    of_decoded = error * (2.0 * weight / len(x))
    reconstruction = error.mul_(of_decoded).sum().mul_(0.5)
    values, of_mu, of_logvar, of_z = regularizer(mu, logvar, z)
    mean, share = values.mean(), beta / len(x)

    slope = decoder.accumulate(of_decoded, latents).mm(decoder.tensors()[0])
    if of_z is not None:
        slope.add_(of_z, alpha=share)
    by_logvar = torch.add(of_logvar * share, spread.mul_(slope), alpha=0.5)
    by_mu = slope if of_mu is None else slope.add_(of_mu, alpha=share)
    encoder.accumulate(torch.cat([by_mu, by_logvar], 1), inputs)
    return torch.add(reconstruction, mean, alpha=beta), reconstruction, mean
