"""The Gaussian VAE that is left of t3VAE when its noise is Gaussian."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from t3vae.models.base import check_above
from t3vae.models.vae import VAE

__all__ = ["GaussianTwin"]


class GaussianTwin(VAE):
    r"""Gaussian VAE with the weight, the latent scale and the first noise of a t3VAE.

    .. math:: \log\Sigma = \text{encoder's output} + \log\tfrac{\nu}{\nu+n-2},\quad
              \beta = w\,v^*,\quad k^2 = w\,v^*

    A network that has just been initialised gives log-variances near zero. In t3VAE that is a
    posterior of variance :math:`\nu/(\nu+n-2)`, far narrower than the distribution that it is
    pulled to (an 18th of :math:`v^*` at nu = 10, n = 3072); in a Gaussian VAE it is 1. With this
    shift the slopes of both regularizers by the encoder's output are equal, but for the factor
    :math:`w = e^{\bar\ell}` of the log-determinant, which t3VAE has for each point and this model
    as a constant. What then remains is that noise is Gaussian instead of t.

    Args:
        data_dim, latent_dim, sigma, network, encoder, decoder: see :class:`Model`.
        nu: degrees of freedom of the t3VAE that this is the twin of.
        entropy_weight: w, the mean that the metric of this name measures for that t3VAE.

    Raises:
        ConfigError: nu is 2 or less, or the weight is not positive.

    Example:
        >>> twin = GaussianTwin(3072, 64, nu=10.0)
        >>> round(twin.beta, 4), round(twin.prior_scale**2, 4)
        (0.0589, 0.0589)
    """

    def __init__(
        self,
        data_dim: Any,
        latent_dim: int,
        *,
        nu: float,
        entropy_weight: float = 1.0,
        **parts: Any,
    ) -> None:
        nu = check_above("nu", nu, 2.0, "v* is that of a t3VAE with these degrees of freedom")
        weight = check_above("entropy_weight", entropy_weight, 0.0, "it weighs the entropy")
        super().__init__(
            data_dim, latent_dim, beta="matched", prior_scale="matched", nu=nu, **parts
        )
        self.nu, self._weight = nu, weight
        self.beta *= weight
        self.prior_scale *= math.sqrt(weight)
        self._shift = math.log(nu / (nu + self.data_dim - 2))

    def hyperparameters(self) -> dict[str, Any]:
        """Parameters of the family, as they stand in ``params.yaml``."""
        return {"nu": self.nu, "entropy_weight": self._weight}

    def _encoded(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mu, logvar = super()._encoded(x)
        return mu, logvar + self._shift

    def entropy_weight(self, posterior: Any) -> Tensor:
        """Return w for each point, [B]."""
        return torch.full(posterior.batch_shape, self._weight)
