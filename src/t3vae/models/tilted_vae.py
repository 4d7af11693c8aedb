"""Tilted VAE: a Gaussian prior tilted towards large norms, a unit-covariance encoder."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from t3vae.errors import ConfigError
from t3vae.maths.distributions import DiagonalGaussian
from t3vae.maths.objectives import gaussian_kl_2x
from t3vae.maths.tilted import TiltedGaussian, tilted_regularizer_2x
from t3vae.models.base import Loss, Model
from t3vae.runtime.seeding import generator
from t3vae.settings import arguments

__all__ = ["TiltedVAE"]


class TiltedVAE(Model):
    r"""Tilted VAE (Floto et al. 2023).

    .. math:: p(z) \propto e^{\tau\|z\|} N(z; 0, I),\quad q_\phi(z|x) = N(\mu(x), I),\quad
              \|x-\hat x\|^2/\sigma^2 + \beta (\|\mu\|-\mu^*)^2

    where :math:`\mu^*` is the norm that minimises the divergence to the prior; the constant
    minimum is left out. Draws from the prior are exact.

    Args:
        data_dim, latent_dim, sigma, beta, network, encoder, decoder: see :class:`Model`; the
            encoder gives m numbers.
        tilt: tau, at least 0.

    Raises:
        ConfigError: the tilt is negative or not finite.

    Example:
        >>> model = TiltedVAE(4, 2, tilt=3.0)
        >>> model.sample(5).shape
        torch.Size([5, 4])
    """

    hyperparameter_names = ("tilt", "beta")

    def __init__(self, data_dim: Any, latent_dim: int, *, tilt: float, **parts: Any) -> None:
        super().__init__(data_dim, latent_dim, **parts)
        self.tilt = arguments.real("tilt", tilt)
        if not 0 <= self.tilt < 1e6:
            raise ConfigError(f"tilt = {tilt}: must be a finite number, 0 or more.")

    @property
    def encoder_width(self) -> int | None:
        """Only a mean: m."""
        return self.latent_dim

    def prior(self) -> Distribution:
        """The tilted Gaussian."""
        return TiltedGaussian(self.tilt, self.latent_dim)

    def encode(self, x: Tensor) -> DiagonalGaussian:
        """Return q(z | x), a normal distribution with unit covariance."""
        return DiagonalGaussian(self.encoder(x), 1.0)

    def loss(self, x: Tensor) -> Loss:
        """Return the objective with one z a point."""
        mu = self.encoder(x)
        z = mu + torch.empty_like(mu).normal_(generator=generator(mu.device))
        if self.tilt == 0:  # the norm has no gradient at 0, and the plain form needs none
            regularizer = gaussian_kl_2x(mu, torch.zeros_like(mu))
        else:
            regularizer = tilted_regularizer_2x(mu, self.tilt)
        return self._assemble(self._squared_error(x, self.decoder(z)), regularizer)
