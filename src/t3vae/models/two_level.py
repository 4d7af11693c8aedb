r"""What the two-level models share: encoder heads, the latent distribution z1 then z2 given z1.

The latent variable of the contract is the pair z = [z1, z2], of dimension m1 + m2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, constraints

from t3vae.errors import ConfigError
from t3vae.maths.distributions import check_event
from t3vae.models.base import Model
from t3vae.settings import arguments

__all__ = ["Chain", "TwoLevel", "feature_width"]


_Levels = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


def feature_width(encoder: nn.Module) -> int:
    """Return how many features an encoder without a last layer gives.

    Raises:
        ConfigError: it does not say.
    """
    width = getattr(encoder, "width", None)
    if not isinstance(width, int):
        raise ConfigError(
            f"encoder {type(encoder).__name__}: needs an attribute `width`, the number of "
            "features that it gives for one data point."
        )
    return width


class Chain(Distribution):
    """The distribution of [z1, z2] where z2 has a distribution given z1.

    Args:
        first: distribution of z1, event shape [m1].
        second: from z1 [..., m1] to the distribution of z2, event shape [m2].
        dims: m1 and m2.

    Example:
        >>> from t3vae.maths.distributions import DiagonalGaussian
        >>> distribution = Chain(
        ...     DiagonalGaussian(torch.zeros(1), 1.0), lambda z: DiagonalGaussian(z, 1.0), (1, 1)
        ... )
        >>> distribution.sample((5,)).shape, distribution.log_prob(torch.zeros(5, 2)).shape
        (torch.Size([5, 2]), torch.Size([5]))
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self, first: Distribution, second: Callable[[Tensor], Distribution], dims: tuple[int, int]
    ) -> None:
        self.first, self.second, self.dims = first, second, dims
        super().__init__(first.batch_shape, torch.Size((sum(dims),)), validate_args=False)

    @property
    def mean(self) -> Tensor:
        """Mean, where that of z2 is an affine function of z1."""
        first = self.first.mean
        return torch.cat([first, self.second(first).mean], -1)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Draw [*sample_shape, ..., m1 + m2]."""
        z1 = self.first.rsample(torch.Size(sample_shape))
        return torch.cat([z1, self.second(z1).rsample()], -1)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draw without gradients."""
        with torch.no_grad():
            return self.rsample(sample_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density at value [..., m1 + m2]."""
        check_event(value, self.event_shape[0])
        z1, z2 = value.split(self.dims, -1)
        density: Tensor = self.first.log_prob(z1) + self.second(z1).log_prob(z2)
        return density


class TwoLevel(Model):
    """Base of the two-level models: q(z1 | x) q(z2 | x, z1), p(z1) p(z2 | z1) p(x | z1, z2).

    Args:
        data_dim, sigma, beta, network, encoder, decoder: see :class:`Model`; the encoder gives
            features and says how many by its attribute ``width``, the decoder takes m1 + m2.
        latent_dim: dimension m1 of the upper level.
        latent_dim_2: dimension m2 of the lower level; m1 when None.
    """

    def __init__(
        self, data_dim: Any, latent_dim: int, *, latent_dim_2: int | None = None, **parts: Any
    ) -> None:
        upper = arguments.whole("latent_dim", latent_dim, 1)
        lower = upper if latent_dim_2 is None else arguments.whole("latent_dim_2", latent_dim_2, 1)
        self.dims, self.latent_dim_2 = (upper, lower), lower
        super().__init__(data_dim, latent_dim, **parts)
        m1, m2 = self.dims
        self.latent_dim = m1 + m2
        width = feature_width(self.encoder)
        self.upper = nn.Linear(width, 2 * m1)
        self.lower = nn.Linear(width + m1, 2 * m2)
        self.prior_location = nn.Linear(m1, m2)

    @property
    def encoder_width(self) -> int | None:
        """None: the heads of both levels are the model's."""
        return None

    @property
    def decoder_width(self) -> int:
        """Both levels: m1 + m2."""
        return sum(self.dims)

    def _upper_distribution(self, mu: Tensor, logvar: Tensor) -> Distribution:
        """Return q(z1 | x)."""
        raise NotImplementedError

    def _lower_distribution(
        self, mu: Tensor, logvar: Tensor, z1: Tensor, mu1: Tensor, logvar1: Tensor
    ) -> Distribution:
        """Return q(z2 | x, z1)."""
        raise NotImplementedError

    def _lower_heads(self, features: Tensor, z1: Tensor) -> tuple[Tensor, Tensor]:
        features = features.expand(*z1.shape[:-1], -1)
        mu, logvar = self.lower(torch.cat([features, z1], -1)).chunk(2, -1)
        return mu, logvar

    def encode(self, x: Tensor) -> Chain:
        """Return q(z1, z2 | x); batch shape [B], event shape [m1 + m2]."""
        features = self.encoder(x)
        mu1, logvar1 = self.upper(features).chunk(2, 1)

        def lower(z1: Tensor) -> Distribution:
            return self._lower_distribution(*self._lower_heads(features, z1), z1, mu1, logvar1)

        return Chain(self._upper_distribution(mu1, logvar1), lower, self.dims)

    def _encode_and_draw(self, x: Tensor) -> tuple[_Levels, Tensor]:
        """Return encoder outputs of both levels with the prior location, and reconstruction [B]."""
        features = self.encoder(x)
        mu1, logvar1 = self.upper(features).chunk(2, 1)
        z1 = self._upper_distribution(mu1, logvar1).rsample()
        mu2, logvar2 = self._lower_heads(features, z1)
        z2 = self._lower_distribution(mu2, logvar2, z1, mu1, logvar1).rsample()
        levels = mu1, logvar1, mu2, logvar2, self.prior_location(z1)
        return levels, self._squared_error(x, self.decoder(torch.cat([z1, z2], 1)))

    def _upper_zeros(self) -> Tensor:
        return self._zeros()[: self.dims[0]]
