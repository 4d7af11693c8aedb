"""t3HVAE: the two-level t model, per level as published or with a jointly t encoder."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from t3vae.errors import ConfigError
from t3vae.maths.constants import gamma_constants, hierarchical_constants
from t3vae.maths.distributions import MultivariateT
from t3vae.maths.hierarchical import hierarchical_regularizers, joint_hierarchical_regularizer
from t3vae.models.base import Loss, check_above
from t3vae.models.two_level import Chain, TwoLevel

__all__ = ["OBJECTIVES", "T3HVAE"]

OBJECTIVES = ("per_level", "joint")


class T3HVAE(TwoLevel):
    r"""Two-level t model (Kim et al. 2024).

    .. math::
        z_1 \sim t_{m_1}(0, I, \nu),\quad
        z_2 | z_1 \sim t_{m_2}\Big(\mu_\theta(z_1),
            \tfrac{1+\|z_1\|^2/\nu}{1+m_1/\nu} I, \nu+m_1\Big),\quad
        x | z \sim t_n\Big(\mu_\theta(z),
            \tfrac{1+(\|z_1\|^2+\|z_2-\mu_\theta(z_1)\|^2)/\nu}{1+(m_1+m_2)/\nu}\sigma^2 I,
            \nu+m_1+m_2\Big)

    The objective ``per_level`` is the published one: a regularizer for each level, encoders
    with nu + n and nu + n + m1 degrees of freedom, and an alternative prior whose level-1
    scale is the minimiser of its regularizer (with the sign of its log-ratio put right). The
    objective ``joint`` makes the encoder jointly t, which gives one regularizer, one scale tau
    and, where the level-2 scale does not depend on z1, exactly twice alpha times the
    gamma-power divergence to the alternative prior; it is derived here, not published.

    Args:
        data_dim, latent_dim, latent_dim_2, sigma, beta, network, encoder, decoder: see
            :class:`TwoLevel`.
        nu: degrees of freedom, greater than 2.
        objective: ``per_level`` or ``joint``.

    Raises:
        ConfigError: nu is 2 or less, or the objective is unknown.

    Example:
        >>> T3HVAE(4, 2, nu=5.0, objective="joint").sample(3, latent="alternative").shape
        torch.Size([3, 4])
    """

    hyperparameter_names = ("nu", "beta", "objective", "latent_dim_2")

    def __init__(
        self,
        data_dim: Any,
        latent_dim: int,
        *,
        nu: float,
        objective: str = "per_level",
        **parts: Any,
    ) -> None:
        super().__init__(data_dim, latent_dim, **parts)
        self.nu = check_above("nu", nu, 2.0, "the objective needs a finite prior variance")
        if objective not in OBJECTIVES:
            raise ConfigError(f"objective = {objective!r}: must be per_level or joint.")
        self.objective = objective
        m1, m2 = self.dims
        self.flat = gamma_constants(self.nu, self.data_dim, m1 + m2, self.sigma)
        self.constants = hierarchical_constants(self.nu, self.data_dim, m1, m2, self.sigma)

    def entropy_weight(self, posterior: Any) -> None:
        """One factor for each level, hence None."""

    # -- distributions ------------------------------------------------------------------------

    def _given_upper(self, z1: Tensor, nu: float, tau: float = 1.0) -> MultivariateT:
        """Return the t of z2 that makes [z1, z2 - mu_theta(z1)] jointly t with scale tau."""
        m1 = self.dims[0]
        squared = z1.square().sum(-1, keepdim=True) * (tau**-2)
        scale = torch.sqrt((nu + squared) / (nu + m1)) * tau
        return MultivariateT(self.prior_location(z1), scale, nu + m1)

    def prior(self) -> Chain:
        """The jointly t prior of both levels."""
        upper = MultivariateT(self._upper_zeros(), 1.0, self.nu)
        return Chain(upper, lambda z1: self._given_upper(z1, self.nu), self.dims)

    def alternative(self) -> Chain:
        """The distribution that the regularizers pull encodings to."""
        nu, m1 = self.nu + self.data_dim, self.dims[0]
        if self.objective == "joint":
            tau = self.flat.tau
            upper = MultivariateT(self._upper_zeros(), tau, nu)
            return Chain(upper, lambda z1: self._given_upper(z1, nu, tau), self.dims)
        tau1, tau2 = math.exp(self.constants.log_tau1_wg), math.exp(self.constants.log_tau2)
        return Chain(
            MultivariateT(self._upper_zeros(), tau1, nu),
            lambda z1: MultivariateT(self.prior_location(z1), tau2, nu + m1),
            self.dims,
        )

    def _upper_distribution(self, mu: Tensor, logvar: Tensor) -> MultivariateT:
        factor = 1 / math.sqrt(1 + self.data_dim / self.nu)
        return MultivariateT(mu, torch.exp(0.5 * logvar) * factor, self.nu + self.data_dim)

    def _lower_distribution(
        self, mu: Tensor, logvar: Tensor, z1: Tensor, mu1: Tensor, logvar1: Tensor
    ) -> MultivariateT:
        n, nu, m1 = self.data_dim, self.nu, self.dims[0]
        scale = torch.exp(0.5 * logvar) * (1 / math.sqrt(1 + (n + m1) / nu))
        if self.objective == "joint":
            distance = ((z1 - mu1).square() * torch.exp(-logvar1)).sum(-1, keepdim=True)
            scale = scale * torch.sqrt(1 + distance / nu)
        return MultivariateT(mu, scale, nu + n + m1)

    def decode(self, z: Tensor) -> MultivariateT:
        """Return p(x | z1, z2), a t distribution whose scale grows with both levels."""
        z1, z2 = z.split(self.dims, -1)
        lower = z2 - self.prior_location(z1)
        squared = z1.square().sum(-1, keepdim=True) + lower.square().sum(-1, keepdim=True)
        total = self.nu + self.latent_dim
        scale = torch.sqrt((self.nu + squared) / total) * self.sigma
        return MultivariateT(self.decoder(z), scale, total)

    # -- training --------------------------------------------------------------------

    def loss(self, x: Tensor) -> Loss:
        """Return the objective with one draw of each level a point."""
        levels, reconstruction = self._encode_and_draw(x)
        if self.objective == "joint":
            regularizer = joint_hierarchical_regularizer(*levels, self.flat)
        else:
            upper, lower = hierarchical_regularizers(*levels, self.constants)
            regularizer = upper + lower
        return self._assemble(reconstruction, regularizer)
