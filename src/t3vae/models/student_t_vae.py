"""Student-t VAE: Gaussian latent, a Student-t decoder with learnt scale and nu."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from t3vae.maths.distributions import IndependentT
from t3vae.maths.objectives import gaussian_kl_2x, student_t_nll_2x
from t3vae.models.base import Loss, Model, check_above

__all__ = ["StudentTVAE"]

_LOG_NU_MAXIMUM = math.log(1e6)
_LOG_PRECISION_BOUND = 30.0


class StudentTVAE(Model):
    r"""Student-t VAE (Takahashi et al. 2018).

    .. math:: -2\sum_j \log t_1(x_j\mid\mu_j(z), \lambda_j(z)^{-1}, \nu_j(z))
              + \beta\, 2\,\mathrm{KL}(N(\mu,\Sigma)\|N(0,I))

    Location, log-precision and log-nu of every data dimension are decoder outputs. nu has a
    floor, since below it samples overflow; ``sigma`` is not used.

    Args:
        data_dim, latent_dim, sigma, beta, network, encoder, decoder: see :class:`Model`; the
            decoder gives 3n numbers.
        nu_floor: smallest nu of the decoder, greater than 0.

    Example:
        >>> model = StudentTVAE(1, 1)
        >>> sum(p.numel() for p in model.parameters())
        8901
    """

    decoder_channels = 3
    hyperparameter_names = ("beta", "nu_floor")

    def __init__(
        self, data_dim: Any, latent_dim: int, *, nu_floor: float = 1.0, **parts: Any
    ) -> None:
        super().__init__(data_dim, latent_dim, **parts)
        self.nu_floor = check_above("nu_floor", nu_floor, 0.0, "samples overflow without a floor")

    def _decoded(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return location, log-precision and log-nu, [B, n] each."""
        mu, log_precision, log_nu = self.decoder(z).chunk(3, 1)
        return (
            mu,
            log_precision.clamp(-_LOG_PRECISION_BOUND, _LOG_PRECISION_BOUND),
            log_nu.clamp(math.log(self.nu_floor), _LOG_NU_MAXIMUM),
        )

    def decode(self, z: Tensor) -> IndependentT:
        """Return p(x | z), independent t distributions with nu of their own."""
        mu, log_precision, log_nu = self._decoded(z)
        return IndependentT(mu, torch.exp(-0.5 * log_precision), torch.exp(log_nu))

    def decoder_mean(self, z: Tensor) -> Tensor:
        """Return the decoder's location, [B, n]."""
        return self._decoded(z)[0]

    def loss(self, x: Tensor) -> Loss:
        """Return the doubled negative ELBO."""
        mu, logvar = self._encoded(x)
        z = torch.addcmul(mu, torch.exp(0.5 * logvar), self._noise(x))
        return self._assemble(
            student_t_nll_2x(x.flatten(1), *self._decoded(z)), gaussian_kl_2x(mu, logvar)
        )
