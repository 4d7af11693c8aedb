"""FactorVAE: a Gaussian VAE whose total correlation a discriminator estimates."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from t3vae.maths.objectives import discriminator_loss, gaussian_kl_2x, total_correlation_2x
from t3vae.models.base import Group, Loss, LossWithAuxiliary, Model, check_above
from t3vae.runtime.seeding import generator
from t3vae.settings import arguments

__all__ = ["FactorVAE", "permute_coordinates"]

_HIDDEN_LAYERS, _SLOPE = 5, 0.2


def permute_coordinates(z: Tensor) -> Tensor:
    """Permute each coordinate of ``z`` [B, m] over the batch, independently of the others.

    Example:
        >>> z = torch.arange(6.0).view(3, 2)
        >>> torch.equal(permute_coordinates(z).sort(0).values, z)
        True
    """
    order = torch.empty_like(z).uniform_(generator=generator(z.device)).argsort(0)
    return z.gather(0, order)


class FactorVAE(Model):
    r"""FactorVAE (Kim & Mnih 2018).

    .. math:: \|x-\hat x\|^2/\sigma^2 + \beta\big[2\,\mathrm{KL}(N(\mu,\Sigma)\|N(0,I))
              + \gamma_{TC}\, 2(D_0(z) - D_1(z))\big]

    The discriminator D tells samples z of the encoder (class 0) from samples whose coordinates
    were permuted over the batch (class 1). It has an optimiser of its own: the term above
    sees its weights as constants, and its loss sees z as a constant.

    Args:
        data_dim, latent_dim, sigma, beta, network, encoder, decoder: see :class:`Model`.
        tc_weight: weight of the total correlation.
        discriminator_width: units of each of its five hidden layers.
        discriminator_learning_rate: of its Adam.

    Example:
        >>> model = FactorVAE(4, 2, tc_weight=6.4, discriminator_width=16)
        >>> loss = model.loss(torch.randn(8, 4))
        >>> loss.objective.backward()
    """

    hyperparameter_names = (
        "tc_weight",
        "beta",
        "discriminator_width",
        "discriminator_learning_rate",
    )

    def __init__(
        self,
        data_dim: Any,
        latent_dim: int,
        *,
        tc_weight: float,
        discriminator_width: int = 2000,
        discriminator_learning_rate: float = 1e-5,
        **parts: Any,
    ) -> None:
        super().__init__(data_dim, latent_dim, **parts)
        self.tc_weight = check_above("tc_weight", tc_weight, 0.0, "without it this is a VAE")
        self.discriminator_width = arguments.whole("discriminator_width", discriminator_width, 1)
        self.discriminator_learning_rate = check_above(
            "discriminator_learning_rate", discriminator_learning_rate, 0.0, "it is a step size"
        )
        widths = [self.latent_dim, *[self.discriminator_width] * _HIDDEN_LAYERS]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [nn.Linear(inputs, outputs), nn.LeakyReLU(_SLOPE, inplace=True)]
        self.discriminator = nn.Sequential(*layers, nn.Linear(widths[-1], 2))

    def parameter_groups(self) -> list[Group]:
        """Return encoder with decoder, and the discriminator."""
        own = list(self.discriminator.parameters())
        known = {id(parameter) for parameter in own}
        others = [parameter for parameter in self.parameters() if id(parameter) not in known]
        return [
            Group(others, {}),
            Group(own, {"learning_rate": self.discriminator_learning_rate}),
        ]

    def loss(self, x: Tensor) -> Loss:
        """Return the objective, with the discriminator's loss beside it."""
        mu, logvar = self._encoded(x)
        z = torch.addcmul(mu, torch.exp(0.5 * logvar), self._noise(x))
        frozen = {name: value.detach() for name, value in self.discriminator.named_parameters()}
        correlation = total_correlation_2x(functional_call(self.discriminator, frozen, (z,)))
        loss = self._assemble(
            self._squared_error(x, self.decoder(z)),
            gaussian_kl_2x(mu, logvar) + self.tc_weight * correlation,
        )
        given = z.detach()
        both = self.discriminator(torch.cat([given, permute_coordinates(given)]))
        joint, permuted = both.chunk(2)
        return LossWithAuxiliary(loss, discriminator_loss(joint, permuted))
