r"""What t3VAE and its conditional form share: degrees of freedom, constants, the t encoder."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from t3vae.maths.constants import gamma_constants
from t3vae.maths.distributions import MultivariateT
from t3vae.models.base import Model, check_above

__all__ = ["HeavyTailed"]


class HeavyTailed(Model):
    r"""Base of the one-level t families.

    .. math:: q_\phi(z|x) = t_m\Big(\mu_\phi(x), \tfrac{\Sigma_\phi(x)}{1+n/\nu}, \nu+n\Big)

    Args:
        data_dim, latent_dim, sigma, beta, network, encoder, decoder: see :class:`Model`.
        nu: degrees of freedom, greater than 2.

    Raises:
        ConfigError: nu is 2 or less.
    """

    hyperparameter_names = ("nu", "beta")

    def __init__(self, data_dim: Any, latent_dim: int, *, nu: float, **parts: Any) -> None:
        super().__init__(data_dim, latent_dim, **parts)
        self.nu = check_above("nu", nu, 2.0, "the objective needs a finite prior variance")
        self.constants = gamma_constants(self.nu, self.data_dim, self.latent_dim, self.sigma)
        self._encoder_factor = 1.0 / math.sqrt(1.0 + self.data_dim / self.nu)

    def _posterior(self, mu: Tensor, logvar: Tensor) -> MultivariateT:
        scale = torch.exp(0.5 * logvar).mul(self._encoder_factor)
        return MultivariateT(mu, scale, self.constants.nu_prime)

    def entropy_weight(self, posterior: MultivariateT) -> Tensor:
        r"""Return the factor of the log-determinant in the regularizer's slope, [B].

        .. math:: \exp\Big(\tfrac1M\sum_i(\log\Sigma_{ii}-c)\Big),\qquad
                  \partial R_\gamma/\partial\log\Sigma_{ii}
                  = v^*\big(e^{\log\Sigma_{ii}-c}-\exp(\tfrac1M\textstyle\sum_j(\cdot))\big)
        """
        excess = 2 * torch.log(posterior.scale / self._encoder_factor) - self.constants.shift
        return torch.exp(excess.sum(-1) / self.constants.order)
