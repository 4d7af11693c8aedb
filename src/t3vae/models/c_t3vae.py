"""C-t3VAE: the t model with a prior location for each class."""

from __future__ import annotations

import torch
from torch import Tensor

from t3vae.maths.distributions import MultivariateT
from t3vae.maths.divergence import conditional_regularizer
from t3vae.models.base import Loss
from t3vae.models.conditional import ConditionalModel
from t3vae.models.t_encoder import HeavyTailed

__all__ = ["CT3VAE"]


class CT3VAE(HeavyTailed, ConditionalModel):
    r"""Conditional t3VAE (the model of Bouayed et al. 2025; the formulas are our derivation).

    .. math::
        p(z|y) = t_m(\mu_y, I, \nu),\quad
        p_\theta(x|z,y) = t_n\Big(\mu_\theta(z),
            \tfrac{1+\|z-\mu_y\|^2/\nu}{1+m/\nu}\sigma^2 I, \nu+m\Big),\quad
        q_\phi(z|x,y) = t_m\Big(\mu_\phi(x,y), \tfrac{\Sigma_\phi(x,y)}{1+n/\nu}, \nu+n\Big)

    with the objective :math:`\|x-\hat x\|^2/\sigma^2 + \beta R_\gamma(\mu_\phi-\mu_y,
    \Sigma_\phi)`, an average over points and their labels. Published are a class-conditional t
    prior, a closed-form gamma-loss and an equal-weight mixture over classes for generation.
    **Derived here**, as the extension of t3VAE (Kim et al. 2024), and to be compared with the
    paper: all constants are those of t3VAE, because a translation by :math:`\mu_y` changes no
    norm, so that for each class the regularizer is exactly :math:`2\alpha` times the
    gamma-power divergence to :math:`t_m(\mu_y,\tau^2I,\nu+n)`. **Choices of this package**:
    divergences of the classes are averaged with their frequencies; :math:`\mu_y` is learnt
    and starts at zero; the label enters the encoder as an embedding beside its features, and
    the decoder's location does not depend on it.

    Args:
        data_dim, latent_dim, classes, sigma, beta, network, encoder, decoder: see
            :class:`ConditionalModel`.
        nu: degrees of freedom, greater than 2.

    Raises:
        ConfigError: nu is 2 or less.

    Example:
        >>> model = CT3VAE(4, 2, classes=3, nu=5.0)
        >>> model.sample(6, latent="alternative", y=2).shape
        torch.Size([6, 4])
    """

    def _class_prior(self, centre: Tensor) -> MultivariateT:
        return MultivariateT(centre, 1.0, self.nu)

    def _class_alternative(self, centre: Tensor) -> MultivariateT:
        return MultivariateT(centre, self.constants.tau, self.constants.nu_prime)

    def encode(self, x: Tensor, y: Tensor | None = None) -> MultivariateT:
        """Return q(z | x, y), a t distribution with nu + n degrees of freedom."""
        return self._posterior(*self._heads(x, y))

    def decode(self, z: Tensor, y: Tensor | None = None) -> MultivariateT:
        """Return p(x | z, y), a t whose scale grows with the distance of z from mu_y."""
        nu, m = self.nu, self.latent_dim
        distance = (z - self.centres(self._labels(y))).square().sum(-1, keepdim=True)
        scale = torch.sqrt((nu + distance) / (nu + m)).mul(self.sigma)
        return MultivariateT(self.decoder(z), scale, nu + m)

    def loss(self, x: Tensor, y: Tensor | None = None) -> Loss:
        """Return the objective with one z a point."""
        mu, logvar = self._heads(x, y)
        z = self._posterior(mu, logvar).rsample()
        centre = self.centres(self._labels(y))
        regularizer = conditional_regularizer(mu, logvar, centre, self.constants)
        return self._assemble(self._squared_error(x, self.decoder(z)), regularizer)
