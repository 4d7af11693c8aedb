"""The two-level Gaussian VAE, the control of the two-level t model."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from t3vae.maths.distributions import DiagonalGaussian
from t3vae.maths.objectives import gaussian_kl_2x
from t3vae.models.base import Loss
from t3vae.models.two_level import Chain, TwoLevel
from t3vae.models.weighted_gaussian import WeighedGaussian

__all__ = ["HVAE"]


class HVAE(WeighedGaussian, TwoLevel):
    r"""Two-level Gaussian VAE (Kim et al. 2024 use it as their hierarchical baseline).

    .. math:: \|x-\hat x\|^2/\sigma^2 + \beta\big[2\,\mathrm{KL}(N(\mu_1,\Sigma_1)\|N(0,k^2I))
              + 2\,\mathrm{KL}(N(\mu_2,\Sigma_2)\|N(\mu_\theta(z_1),k^2I))\big]

    Args:
        data_dim, latent_dim, latent_dim_2, sigma, network, encoder, decoder: see
            :class:`TwoLevel`.
        beta: weight of the regularizer, or ``"matched"`` for v*(nu, n, sigma) with all latent
            dimensions together.
        prior_scale: scale k of both priors, or ``"matched"`` for sqrt(v*).
        nu: degrees of freedom of the two-level t model that is matched.

    Raises:
        ConfigError: something is matched and nu is missing.

    Example:
        >>> HVAE(4, 2).sample(3).shape
        torch.Size([3, 4])
    """

    def hyperparameters(self) -> dict[str, Any]:
        """Parameters of the family, as they stand in ``params.yaml``."""
        return {**super().hyperparameters(), "latent_dim_2": self.latent_dim_2}

    def prior(self) -> Chain:
        """N(0, k^2 I), then N(mu_theta(z1), k^2 I)."""
        return Chain(
            DiagonalGaussian(self._upper_zeros(), self.prior_scale),
            lambda z1: DiagonalGaussian(self.prior_location(z1), self.prior_scale),
            self.dims,
        )

    def _upper_distribution(self, mu: Tensor, logvar: Tensor) -> DiagonalGaussian:
        return DiagonalGaussian(mu, torch.exp(0.5 * logvar))

    def _lower_distribution(self, mu: Tensor, logvar: Tensor, *_: Tensor) -> DiagonalGaussian:
        return DiagonalGaussian(mu, torch.exp(0.5 * logvar))

    def loss(self, x: Tensor) -> Loss:
        """Return the doubled negative ELBO without the decoder's normaliser."""
        (mu1, logvar1, mu2, logvar2, prior_mu2), reconstruction = self._encode_and_draw(x)
        upper = gaussian_kl_2x(mu1, logvar1, self.prior_scale)
        lower = gaussian_kl_2x(mu2 - prior_mu2, logvar2, self.prior_scale)
        return self._assemble(reconstruction, upper + lower)
