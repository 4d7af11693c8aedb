"""t3VAE: Student's t prior, encoder and decoder, trained with the gamma-power divergence."""

from __future__ import annotations

import torch
from torch import Tensor

from t3vae.maths.distributions import MultivariateT, standard_gamma
from t3vae.maths.divergence import gamma_regularizer, power_regularizer_slopes
from t3vae.models.base import Loss
from t3vae.models.t_encoder import HeavyTailed
from t3vae.networks.fused_step import Slopes

__all__ = ["T3VAE"]


class T3VAE(HeavyTailed):
    r"""t3VAE (Kim et al., ICLR 2024).

    .. math::
        p(z) = t_m(0, I, \nu),\quad
        p_\theta(x|z) = t_n\Big(\mu_\theta(z),
            \tfrac{1+\|z\|^2/\nu}{1+m/\nu}\sigma^2 I, \nu+m\Big),\quad
        q_\phi(z|x) = t_m\Big(\mu_\phi(x), \tfrac{\Sigma_\phi(x)}{1+n/\nu}, \nu+n\Big)

    with the objective :math:`\|x-\hat x\|^2/\sigma^2 + \beta R_\gamma(\mu_\phi,\Sigma_\phi)`.

    Args:
        data_dim, latent_dim, sigma, beta, network, encoder, decoder: see :class:`Model`.
        nu: degrees of freedom, greater than 2.

    Raises:
        ConfigError: nu is 2 or less.

    Example:
        >>> model = T3VAE(data_dim=4, latent_dim=2, nu=5.0)
        >>> model.encode(torch.zeros(3, 4)).rsample().shape
        torch.Size([3, 2])
    """

    writes_slopes = True

    def prior(self) -> MultivariateT:
        """t_m(0, I, nu)."""
        return MultivariateT(self._zeros(), 1.0, self.nu)

    def alternative(self) -> MultivariateT:
        """p* = t_m(0, tau^2 I, nu + n), to which the regularizer pulls every encoding."""
        return MultivariateT(self._zeros(), self.constants.tau, self.constants.nu_prime)

    def encode(self, x: Tensor) -> MultivariateT:
        """Return q(z | x), a t distribution with nu + n degrees of freedom."""
        return self._posterior(*self._encoded(x))

    def decode(self, z: Tensor) -> MultivariateT:
        """Return p(x | z), a t distribution whose scale grows with the norm of z."""
        nu, m = self.nu, self.latent_dim
        squared_norm = z.square().sum(-1, keepdim=True)
        scale = torch.sqrt((nu + squared_norm) / (nu + m)).mul(self.sigma)
        return MultivariateT(self.decoder(z), scale, nu + m)

    def loss(self, x: Tensor) -> Loss:
        """Return the objective; the gamma-loss is half of it minus (nu + n) tau^2 / 2."""
        mu, logvar = self._encoded(x)
        z = torch.addcmul(mu, torch.exp(0.5 * logvar), self._noise(x))
        return self._assemble(
            self._squared_error(x, self.decoder(z)), gamma_regularizer(mu, logvar, self.constants)
        )

    def _noise(self, x: Tensor) -> Tensor:
        nu, noise = self.constants.nu_prime, super()._noise(x)
        gamma = standard_gamma(0.5 * nu, torch.Size((len(x), 1)), x)
        return noise.mul_(gamma.mul_(2.0 / (nu * self._encoder_factor**2)).rsqrt_())

    def _regularizer_with_slopes(self, mu: Tensor, logvar: Tensor, z: Tensor) -> Slopes:
        c = self.constants
        return (*power_regularizer_slopes(mu, logvar, c.v_star, c.shift, c.order), None)
