"""VAE-st: Student's t prior and encoder, Gaussian decoder, KL by one draw."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from t3vae.maths.distributions import MultivariateT
from t3vae.maths.objectives import student_t_kl_2x
from t3vae.models.base import Loss, Model, check_above

__all__ = ["VAEst"]

_NU_FLOOR = 3.0
_VARIANCE_FLOOR = 1e-12


class VAEst(Model):
    r"""VAE-st (Abiri & Ohlsson 2020).

    .. math:: q_\phi(z|x) = t_m(\mu(x), \Sigma(x), \nu_q(x)),\quad p(z) = t_m(0, I, \nu)

    with :math:`\nu_q = 3 + \mathrm{softplus}(\cdot)`, one a sample, and
    :math:`\Sigma = \mathrm{softplus}(\cdot)`. The KL term is estimated with one draw, through
    which gradients reach :math:`\nu_q`. Loss and generation use the same prior nu.

    Args:
        data_dim, latent_dim, sigma, beta, network, encoder, decoder: see :class:`Model`; the
            encoder gives 2m + 1 numbers and has tanh activations.
        nu: degrees of freedom of the prior, greater than 2.

    Example:
        >>> model = VAEst(1, 1, nu=9.0)
        >>> sum(p.numel() for p in model.parameters())
        8836
    """

    encoder_activation = "tanh"
    hyperparameter_names = ("nu", "beta")

    def __init__(self, data_dim: Any, latent_dim: int, *, nu: float, **parts: Any) -> None:
        super().__init__(data_dim, latent_dim, **parts)
        self.nu = check_above("nu", nu, 2.0, "the prior needs a finite variance")

    @property
    def encoder_width(self) -> int | None:
        """Location, variance and one nu: 2m + 1."""
        return 2 * self.latent_dim + 1

    def prior(self) -> MultivariateT:
        """t_m(0, I, nu)."""
        return MultivariateT(self._zeros(), 1.0, self.nu)

    def _heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return location [B, m], scale diagonal [B, m] and nu [B]."""
        m = self.latent_dim
        mu, var, nu = self.encoder(x).split([m, m, 1], 1)
        return (
            mu,
            functional.softplus(var) + _VARIANCE_FLOOR,
            _NU_FLOOR + functional.softplus(nu[:, 0]),
        )

    def encode(self, x: Tensor) -> MultivariateT:
        """Return q(z | x), a t distribution with nu of its own for each point."""
        mu, var, nu = self._heads(x)
        return MultivariateT(mu, torch.sqrt(var), nu)

    def loss(self, x: Tensor) -> Loss:
        """Return the objective with the same z in both terms."""
        mu, var, nu = self._heads(x)
        z = MultivariateT(mu, torch.sqrt(var), nu).rsample()
        return self._assemble(
            self._squared_error(x, self.decoder(z)), student_t_kl_2x(z, mu, var, nu, self.nu)
        )
