"""The Gaussian VAE, with a prior scale and a weight of the regularizer.

With ``beta="matched"`` the weight is v*(nu, n, sigma), to which the regularizer of
t3VAE tends in high dimension; with ``prior_scale="matched"`` the prior is N(0, v* I),
which gives the latent the scale of t3VAE as well.
"""

from __future__ import annotations

import torch
from torch import Tensor

from t3vae.maths.distributions import DiagonalGaussian
from t3vae.maths.objectives import gaussian_kl_2x, gaussian_kl_2x_slopes
from t3vae.models.base import Loss
from t3vae.models.weighted_gaussian import WeighedGaussian
from t3vae.networks.fused_step import Slopes

__all__ = ["VAE"]


class VAE(WeighedGaussian):
    r"""Gaussian VAE (Kingma & Welling 2014), beta-VAE (Higgins et al. 2017).

    .. math:: \|x-\hat x\|^2/\sigma^2 + \beta\, 2\,\mathrm{KL}(N(\mu,\Sigma)\|N(0,k^2 I))

    Args:
        data_dim, latent_dim, sigma, network, encoder, decoder: see :class:`Model`.
        beta: weight of the regularizer, or ``"matched"`` for v*(nu, n, sigma).
        prior_scale: scale k of the prior, or ``"matched"`` for sqrt(v*).
        nu: degrees of freedom of the t3VAE that is matched.

    Raises:
        ConfigError: something is matched and nu is missing.

    Example:
        >>> model = VAE(data_dim=4, latent_dim=2)
        >>> model.sample(3).shape
        torch.Size([3, 4])
        >>> round(VAE(3072, 64, beta="matched", nu=10.0).beta, 4)
        0.0589
    """

    writes_slopes = True

    def prior(self) -> DiagonalGaussian:
        """N(0, k^2 I)."""
        return DiagonalGaussian(self._zeros(), self.prior_scale)

    def loss(self, x: Tensor) -> Loss:
        """Return the doubled negative ELBO without the decoder's normaliser."""
        mu, logvar = self._encoded(x)
        z = torch.addcmul(mu, torch.exp(0.5 * logvar), self._noise(x))
        return self._assemble(
            self._squared_error(x, self.decoder(z)), gaussian_kl_2x(mu, logvar, self.prior_scale)
        )

    def _regularizer_with_slopes(self, mu: Tensor, logvar: Tensor, z: Tensor) -> Slopes:
        return (*gaussian_kl_2x_slopes(mu, logvar, self.prior_scale), None)
