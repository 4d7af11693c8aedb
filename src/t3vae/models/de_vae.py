"""DE-VAE: a Gaussian encoder with a prior of independent Student's t distributions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from t3vae.maths.distributions import IndependentT
from t3vae.maths.objectives import de_regularizer_2x, de_regularizer_2x_slopes
from t3vae.models.base import Loss, Model, check_above
from t3vae.networks.fused_step import Slopes

__all__ = ["DEVAE"]


class DEVAE(Model):
    r"""Disentangling VAE with t prior (Mathieu et al. 2019) at alpha = 0.

    .. math:: \|x-\hat x\|^2/\sigma^2 + \beta\, 2\big[\log q_\phi(z|x) -
              \sum_i\log t_1(z_i\mid 0, 1, \nu)\big]

    with the entropy of the encoder in closed form and one draw z.

    Args:
        data_dim, latent_dim, sigma, beta, network, encoder, decoder: see :class:`Model`.
        nu: degrees of freedom of the prior, greater than 2.

    Example:
        >>> DEVAE(2, 1, nu=5.0).sample(3).shape
        torch.Size([3, 2])
    """

    writes_slopes = True
    hyperparameter_names = ("nu", "beta")

    def __init__(self, data_dim: Any, latent_dim: int, *, nu: float, **parts: Any) -> None:
        super().__init__(data_dim, latent_dim, **parts)
        self.nu = check_above("nu", nu, 2.0, "the prior needs a finite variance")

    def prior(self) -> IndependentT:
        """Independent t_1(0, 1, nu) in each latent coordinate."""
        return IndependentT(self._zeros(), 1.0, self.nu)

    def loss(self, x: Tensor) -> Loss:
        """Return the objective with the same z in both terms."""
        mu, logvar = self._encoded(x)
        z = torch.addcmul(mu, torch.exp(0.5 * logvar), self._noise(x))
        return self._assemble(
            self._squared_error(x, self.decoder(z)), de_regularizer_2x(z, logvar, self.nu)
        )

    def _regularizer_with_slopes(self, mu: Tensor, logvar: Tensor, z: Tensor) -> Slopes:
        value, of_z, of_logvar = de_regularizer_2x_slopes(z, logvar, self.nu)
        return value, None, of_logvar, of_z
