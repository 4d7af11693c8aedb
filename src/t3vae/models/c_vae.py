"""The conditional Gaussian VAE, the control of the conditional t model."""

from __future__ import annotations

import torch
from torch import Tensor

from t3vae.maths.distributions import DiagonalGaussian
from t3vae.maths.objectives import gaussian_kl_2x
from t3vae.models.base import Loss
from t3vae.models.conditional import ConditionalModel
from t3vae.models.weighted_gaussian import WeighedGaussian

__all__ = ["CVAE"]


class CVAE(WeighedGaussian, ConditionalModel):
    r"""Conditional VAE (Sohn et al. 2015) with a learnt prior location for each class.

    .. math:: \|x-\hat x\|^2/\sigma^2
              + \beta\, 2\,\mathrm{KL}(N(\mu(x,y),\Sigma(x,y))\|N(\mu_y,k^2I))

    This is the limit of the conditional t model as nu grows.

    Args:
        data_dim, latent_dim, classes, sigma, network, encoder, decoder: see
            :class:`ConditionalModel`.
        beta: weight of the regularizer, or ``"matched"`` for v*(nu, n, sigma).
        prior_scale: scale k of each class's prior, or ``"matched"`` for sqrt(v*).
        nu: degrees of freedom of the conditional t model that is matched.

    Raises:
        ConfigError: something is matched and nu is missing.

    Example:
        >>> labels, z, x = CVAE(4, 2, classes=3).sample_labelled(5)
        >>> x.shape
        torch.Size([5, 4])
    """

    def _class_prior(self, centre: Tensor) -> DiagonalGaussian:
        return DiagonalGaussian(centre, self.prior_scale)

    def encode(self, x: Tensor, y: Tensor | None = None) -> DiagonalGaussian:
        """Return q(z | x, y) for ``x`` [B, *data_shape] and labels ``y`` [B]."""
        mu, logvar = self._heads(x, y)
        return DiagonalGaussian(mu, torch.exp(0.5 * logvar))

    def loss(self, x: Tensor, y: Tensor | None = None) -> Loss:
        """Return the doubled negative conditional ELBO without the decoder's normaliser."""
        mu, logvar = self._heads(x, y)
        z = torch.addcmul(mu, torch.exp(0.5 * logvar), self._noise(x))
        regularizer = gaussian_kl_2x(mu - self.centres(self._labels(y)), logvar, self.prior_scale)
        return self._assemble(self._squared_error(x, self.decoder(z)), regularizer)
