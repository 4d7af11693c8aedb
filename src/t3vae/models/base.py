"""The contract of every model: distributions of latent and data, a loss, samples, reconstructions.

All objectives are doubled (the "2x convention"): the reconstruction term of a Gaussian
decoder is ``|x - x_hat|^2 / sigma^2``, summed over dimensions and averaged over the
batch, and divergences appear twice. Latent distributions are named: ``prior``, ``alternative``
(the distribution that the regularizer pulls encodings to; the prior itself for most models) and
``fitted`` (a t mixture fitted to encodings of training data after training).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from t3vae import networks
from t3vae.errors import ConfigError
from t3vae.maths.distributions import DiagonalGaussian, TMixture
from t3vae.networks.accumulate import into_parameters
from t3vae.networks.fused_step import Slopes, autoencoder_step
from t3vae.networks.mlp import MLP

__all__ = ["LATENT_DISTRIBUTIONS", "Group", "Loss", "LossWithAuxiliary", "Model", "check_above"]

LATENT_DISTRIBUTIONS = ("prior", "alternative", "fitted")


class Loss(NamedTuple):
    """Batch means in the 2x convention.

    Attributes:
        total: what training minimises, ``reconstruction + beta * regularizer``.
        reconstruction: reconstruction term.
        regularizer: regularizer before its weight.
    """

    total: Tensor
    reconstruction: Tensor
    regularizer: Tensor

    @property
    def objective(self) -> Tensor:
        """What a backward pass starts from."""
        return self.total


class LossWithAuxiliary(Loss):
    """A loss beside that of parts with an optimiser of their own.

    Args:
        loss: loss of the model.
        auxiliary: loss of those parts; it reaches no parameter that ``total`` reaches, so that
            one backward pass serves both.
    """

    auxiliary: Tensor

    def __new__(cls, loss: Loss, auxiliary: Tensor) -> LossWithAuxiliary:
        """Join the two."""
        made = super().__new__(cls, *loss)
        made.auxiliary = auxiliary
        return made

    @property
    def objective(self) -> Tensor:
        """The sum of both losses."""
        return self.total + self.auxiliary


class Group(NamedTuple):
    """Parameters with an optimiser of their own.

    Attributes:
        parameters: its parameters.
        settings: settings of the optimiser that differ, for example ``learning_rate``.
    """

    parameters: list[nn.Parameter]
    settings: dict[str, Any]


def check_above(name: str, value: float, bound: float, reason: str) -> float:
    """Return ``value`` as a float, or say why it must be finite and above ``bound``."""
    number = float(value)
    if not (math.isfinite(number) and number > bound):
        raise ConfigError(f"{name} = {value}: must be greater than {bound:g}, because {reason}.")
    return number


class Model(nn.Module):
    """Base class; the plain Gaussian parts are here, a family overrides what differs.

    Args:
        data_dim: data dimension n, or the shape of one data point.
        latent_dim: latent dimension m.
        sigma: decoder scale (a standard deviation, not a variance).
        beta: weight of the regularizer.
        network: description of encoder and decoder (see :mod:`t3vae.networks`).
        encoder, decoder: own modules instead; the encoder gives
            ``[B, encoder_width]``, the decoder ``[B, decoder_channels * n]``.

    Raises:
        ConfigError: a parameter is outside its range.
    """

    encoder_activation: ClassVar[str | None] = None
    decoder_channels: ClassVar[int] = 1
    conditional: ClassVar[bool] = False
    """Whether data come with a label; see :class:`t3vae.models.conditional.ConditionalModel`."""
    writes_slopes: ClassVar[bool] = False
    """Whether the class states in ``_regularizer_with_slopes`` the slopes of its own ``loss``.

    It counts only where the class itself declares it: a subclass with another loss is trained
    through that loss.
    """

    def __init__(
        self,
        data_dim: int | Sequence[int],
        latent_dim: int,
        *,
        sigma: float = 1.0,
        beta: float = 1.0,
        network: Mapping[str, Any] | None = None,
        encoder: nn.Module | None = None,
        decoder: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.data_shape = [int(data_dim)] if isinstance(data_dim, int) else [*map(int, data_dim)]
        self.latent_dim = self.given_latent_dim = int(latent_dim)
        if self.latent_dim < 1 or min(self.data_shape, default=0) < 1:
            raise ConfigError(
                f"data_dim = {data_dim}, latent_dim = {latent_dim}: must be positive whole numbers."
            )
        self.data_dim = math.prod(self.data_shape)
        self.sigma = check_above("sigma", sigma, 0.0, "it is the scale of the decoder")
        self.beta = float(beta)
        if not (math.isfinite(self.beta) and self.beta >= 0):
            raise ConfigError(f"beta = {beta}: must be a finite number, 0 or more.")
        self.network = dict(network or networks.default(self.data_shape))
        if encoder is None or decoder is None:
            built = networks.build(
                self.network,
                self.data_shape,
                self.decoder_width,
                encoder_width=self.encoder_width,
                decoder_channels=self.decoder_channels,
                encoder_activation=self.encoder_activation,
            )
            encoder, decoder = encoder or built[0], decoder or built[1]
        self.encoder, self.decoder = encoder, decoder
        self._fitted: TMixture | None = None

    @property
    def encoder_width(self) -> int | None:
        """Numbers that the encoder gives for one data point; None for features of its choice."""
        return 2 * self.latent_dim

    @property
    def decoder_width(self) -> int:
        """Numbers that the decoder takes for one data point."""
        return self.latent_dim

    def parameter_groups(self) -> list[Group]:
        """Return all parameters, in groups with an optimiser each; one group by default."""
        return [Group(list(self.parameters()), {})]

    def hyperparameters(self) -> dict[str, Any]:
        """Parameters of the family, as they stand in ``params.yaml``."""
        return {"beta": self.beta}

    # -- distributions ------------------------------------------------------------------------

    def _zeros(self) -> Tensor:
        reference = next(self.parameters())
        return torch.zeros(self.latent_dim, dtype=reference.dtype, device=reference.device)

    def prior(self) -> Distribution:
        """Latent distribution of the generative model, event shape [m]."""
        return DiagonalGaussian(self._zeros(), 1.0)

    def alternative(self) -> Distribution:
        """What the regularizer pulls encodings to; the prior unless overridden."""
        return self.prior()

    @property
    def has_alternative(self) -> bool:
        """Whether the alternative distribution is another than the prior."""
        return type(self).alternative is not Model.alternative

    def latent_distribution(self, name: str) -> Distribution:
        """Return the latent distribution ``prior``, ``alternative`` or ``fitted``.

        Raises:
            ConfigError: the name is unknown, or no distribution was fitted.
        """
        if name == "prior":
            return self.prior()
        if name == "alternative":
            return self.alternative()
        if name != "fitted":
            raise ConfigError(
                f"latent = {name!r}: must be one of {', '.join(LATENT_DISTRIBUTIONS)}."
            )
        if self._fitted is None:
            raise ConfigError(
                "latent = 'fitted': nothing was fitted; call t3vae.fit_latent(model, x) first."
            )
        return self._fitted

    def set_fitted(self, distribution: TMixture) -> None:
        """Use ``distribution`` as the latent distribution ``fitted``."""
        self._fitted = distribution

    def encode(self, x: Tensor) -> Distribution:
        """Return q(z | x) for ``x`` [B, *data_shape]; batch shape [B], event shape [m]."""
        mu, logvar = self._encoded(x)
        return DiagonalGaussian(mu, torch.exp(0.5 * logvar))

    def decode(self, z: Tensor) -> Distribution:
        """Return p(x | z) for ``z`` [B, m]; batch shape [B], event shape [n] (flat)."""
        return DiagonalGaussian(self.decoder(z), self.sigma)

    def decoder_mean(self, z: Tensor) -> Tensor:
        """Return the decoder's location, [B, n]."""
        mean: Tensor = self.decoder(z)
        return mean

    def _encoded(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mu, logvar = self.encoder(x).chunk(2, 1)
        return mu, logvar

    def entropy_weight(self, posterior: Any) -> Tensor | None:
        """Return the factor of the log-determinant in the regularizer's slope, [B].

        It is 1 for a KL divergence; None where there is more than one.
        """
        return torch.ones(posterior.batch_shape)

    # -- training --------------------------------------------------------------------

    def loss(self, x: Tensor) -> Loss:
        """Return the batch means of the objective for ``x`` [B, *data_shape], one z a point."""
        raise NotImplementedError

    def loss_and_gradients(self, x: Tensor, *labels: Tensor) -> Loss:
        """Add the gradients of the objective to the parameters' ``grad`` and return the loss.

        The same as ``loss(x, *labels).objective.backward()``. Where a family states the slopes
        of its regularizer and both networks are perceptrons, autograd is left out, which saves
        a third of a step on small batches.
        """
        encoder, decoder = self.encoder, self.decoder
        if type(encoder) is MLP and type(decoder) is MLP and vars(type(self)).get("writes_slopes"):
            return Loss(
                *autoencoder_step(
                    encoder,
                    decoder,
                    x.flatten(1),
                    self._noise(x),
                    weight=self.sigma**-2,
                    beta=self.beta,
                    regularizer=self._regularizer_with_slopes,
                )
            )
        loss = self.loss(x, *labels)
        with into_parameters():
            loss.objective.backward()
        return Loss(*(term.detach() for term in loss))

    def _regularizer_with_slopes(self, mu: Tensor, logvar: Tensor, z: Tensor) -> Slopes:
        """Return the regularizer [B] and its derivatives; only for squared-error families.

        See :attr:`writes_slopes`.
        """
        raise NotImplementedError

    def _assemble(self, reconstruction: Tensor, regularizer: Tensor) -> Loss:
        """Average per-sample terms [B] and weigh the regularizer."""
        recon, reg = reconstruction.mean(), regularizer.mean()
        return Loss(recon + self.beta * reg, recon, reg)

    def _noise(self, x: Tensor) -> Tensor:
        """Draw standard normal noise for the latents of ``x``, [B, m]."""
        return torch.randn(len(x), self.latent_dim, dtype=x.dtype, device=x.device)

    def _squared_error(self, x: Tensor, mean: Tensor) -> Tensor:
        """Return |x - x_hat|^2 / sigma^2 per sample, [B]."""
        return (x.flatten(1) - mean).square().sum(1).mul(self.sigma**-2)

    # -- use -------------------------------------------------------------------------

    @torch.no_grad()
    def sample(self, n: int, latent: str = "prior", *, mean: bool = False) -> Tensor:
        """Return ``n`` new data points, [n, *data_shape].

        Args:
            n: number of points.
            latent: latent distribution, ``prior``, ``alternative`` or ``fitted``.
            mean: give the decoder's location instead of a draw from it.
        """
        return self.sample_pairs(n, latent, mean=mean)[1]

    @torch.no_grad()
    def sample_pairs(
        self, n: int, latent: str = "prior", *, mean: bool = False, block: int = 65536
    ) -> tuple[Tensor, Tensor]:
        """Return latent points [n, m] and the data points decoded from them."""
        distribution, reference = self.latent_distribution(latent), self._zeros()
        latents, points = [], []
        for start in range(0, n, block):
            z = distribution.sample(torch.Size((min(block, n - start),))).to(reference)
            x = self.decoder_mean(z) if mean else self.decode(z).sample()
            latents.append(z)
            points.append(x.view(-1, *self.data_shape))
        return torch.cat(latents), torch.cat(points)

    @torch.no_grad()
    def reconstruct(self, x: Tensor) -> Tensor:
        """Return the decoder's location at one latent draw a point, [B, *data_shape]."""
        return self.decoder_mean(self.encode(x).sample()).view(-1, *self.data_shape)

    @torch.no_grad()
    def log_weights(
        self,
        x: Tensor,
        samples: int,
        distributions: Mapping[str, Distribution],
        *,
        block: int = 131072,
    ) -> dict[str, Tensor]:
        """Return log p(x, z) - log q(z | x) for z ~ q(z | x), [samples, B] for each distribution.

        The importance-weighted log-likelihood of Burda et al. (2016) is the log-mean-exp
        over the first axis. The latent distribution is part of the joint density; samples and
        decoder densities are shared by the distributions.

        Args:
            x: data, [B, *data_shape].
            samples: importance samples for each point.
            distributions: latent distributions by name.
            block: largest number of decoder evaluations at once.
        """
        return self._weigh(x, (), samples, distributions, block)

    def _weigh(
        self,
        x: Tensor,
        labels: tuple[Tensor, ...],
        samples: int,
        distributions: Mapping[str, Distribution],
        block: int,
    ) -> dict[str, Tensor]:
        """Return the weights of :meth:`log_weights` for data that may have labels."""
        flat, posterior = x.flatten(1), self.encode(x, *labels)
        result: dict[str, list[Tensor]] = {name: [] for name in distributions}
        step = max(1, block // len(x))
        for start in range(0, samples, step):
            count = min(step, samples - start)
            z = posterior.sample(torch.Size((count,)))
            decoded = self.decode(z.view(-1, self.latent_dim), *(y.repeat(count) for y in labels))
            target = flat.expand(count, -1, -1).reshape(-1, self.data_dim)
            shared = decoded.log_prob(target).view(count, -1) - posterior.log_prob(z)
            for name, distribution in distributions.items():
                result[name].append(shared + distribution.log_prob(z))
        return {name: torch.cat(parts) for name, parts in result.items()}
