"""The contract of every model: distributions of latent and data, a loss, samples, reconstructions.

All objectives are doubled (the "2x convention"): the reconstruction term of a Gaussian
decoder is ``|x - x_hat|^2 / sigma^2``, summed over dimensions and averaged over the
batch, and divergences appear twice. Latent distributions are named: ``prior``, ``alternative``
(the distribution that the regularizer pulls encodings to; the prior itself for most models) and
``fitted`` (a t mixture fitted to encodings of training data after training).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from t3vae import networks
from t3vae.errors import ConfigError
from t3vae.maths.distributions import DiagonalGaussian, TMixture
from t3vae.models import inputs
from t3vae.networks.accumulate import training_step
from t3vae.networks.fused_step import Slopes, autoencoder_step
from t3vae.networks.mlp import MLP
from t3vae.runtime import seeding
from t3vae.settings import arguments

__all__ = [
    "LATENT_DISTRIBUTIONS",
    "Group",
    "Loss",
    "LossWithAuxiliary",
    "Model",
    "check_above",
    "check_model",
    "shape_of",
]

# Numbers that decoders give at once where a likelihood is estimated.
_NUMBERS_AT_ONCE = 2**22
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
    number = arguments.plain(value)
    is_number = isinstance(number, (int, float)) and not isinstance(number, bool)
    if not (is_number and math.isfinite(number) and number > bound):
        wanted = "greater" if is_number else "a number greater"
        raise ConfigError(
            f"{name} = {arguments.shown(number)}: must be {wanted} than {bound:g}, "
            f"because {reason}."
        )
    return float(number)


def shape_of(data_dim: Any) -> list[int]:
    """Return the shape of one data point: ``[n]`` for a number n.

    Raises:
        ConfigError: not a positive whole number or a list of them.

    Example:
        >>> shape_of(4), shape_of((3, 32, 32))
        ([4], [3, 32, 32])
    """
    plain = arguments.plain(data_dim.tolist() if hasattr(data_dim, "tolist") else data_dim)
    sizes = plain if isinstance(plain, list) else [plain]
    if not sizes:
        raise ConfigError("data_dim = []: must be a positive whole number, or a list of them.")
    return [arguments.whole("data_dim", size, 1) for size in sizes]


def check_model(model: Any) -> None:
    """Refuse what is no model.

    Raises:
        ConfigError: it is something else.
    """
    if not isinstance(model, Model):
        text = arguments.shown(model)
        raise ConfigError(f"model = {text}: must be a model, such as t3vae.T3VAE(...).")


# Where a network notes the description that it was built from.
_BUILT_FROM = "built_from"
_TAKE_DATA = ("encode", "loss", "loss_and_gradients", "reconstruct", "log_weights")
_TAKE_Z = ("decode", "decoder_mean")
# Modules of torch that draw no numbers, by the module that they stand in.
_QUIET = {
    f"torch.nn.modules.{name}"
    for name in (
        *("activation", "batchnorm", "container", "conv", "flatten", "fold", "instancenorm"),
        *("linear", "normalization", "padding", "pixelshuffle", "pooling", "sparse", "upsampling"),
    )
}
_LOUD = (nn.RReLU, nn.MultiheadAttention, nn.FractionalMaxPool2d, nn.FractionalMaxPool3d)


def _is_quiet(kind: type) -> bool:
    module = kind.__module__
    return module.startswith("t3vae.") or (module in _QUIET and kind not in _LOUD)


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
    hyperparameter_names: ClassVar[tuple[str, ...]] = ("beta",)
    """Parameters of the family, each an attribute of this name."""
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
        self.data_shape = shape_of(data_dim)
        self.latent_dim = self.given_latent_dim = arguments.whole("latent_dim", latent_dim, 1)
        self.data_dim = math.prod(self.data_shape)
        self.sigma = check_above("sigma", sigma, 0.0, "it is the scale of the decoder")
        self.beta = arguments.real("beta", beta)
        if self.beta < 0:
            raise ConfigError(f"beta = {beta}: must be a finite number, 0 or more.")
        self.network = arguments.network(network) if network else networks.default(self.data_shape)
        if encoder is None or decoder is None:
            built = networks.build(
                self.network,
                self.data_shape,
                self.decoder_width,
                encoder_width=self.encoder_width,
                decoder_channels=self.decoder_channels,
                encoder_activation=self.encoder_activation,
            )
            for module in built:
                setattr(module, _BUILT_FROM, dict(self.network))
            encoder = built[0] if encoder is None else encoder
            decoder = built[1] if decoder is None else decoder
        for name, module in (("encoder", encoder), ("decoder", decoder)):
            if not isinstance(module, nn.Module):
                raise ConfigError(f"{name} = {arguments.shown(module)}: must be a torch.nn.Module.")
        self.encoder, self.decoder = encoder, decoder
        self._fitted: TMixture | None = None
        self._tried: tuple[nn.Module, ...] = ()

    def __init_subclass__(cls, **options: Any) -> None:
        """Let the methods of a family take data and latent points in any form."""
        super().__init_subclass__(**options)
        for names, door in ((_TAKE_DATA, inputs.takes_data), (_TAKE_Z, inputs.takes_latents)):
            for name in names:
                if name in vars(cls):
                    setattr(cls, name, door(vars(cls)[name]))

    # -- networks --------------------------------------------------------------------

    @property
    def custom_networks(self) -> list[str]:
        """Which of ``encoder`` and ``decoder`` are modules that were given, not described."""
        return [
            name
            for name in ("encoder", "decoder")
            if getattr(getattr(self, name), _BUILT_FROM, None) != self.network
        ]

    def check_networks(self) -> None:
        """Try networks that are not of this package on two points of zeros, before they are used.

        An output of another width would broadcast against latents or data, and train.

        Raises:
            ConfigError: a network cannot be evaluated, or gives another shape.
        """
        these = self.encoder, self.decoder
        if len(self._tried) == 2 and all(a is b for a, b in zip(self._tried, these, strict=True)):
            return
        if not self.custom_networks and ":" not in self.network["kind"]:
            self._tried = these
            return
        width = self.encoder_width
        width = getattr(self.encoder, "width", None) if width is None else width
        decoded = self.decoder_channels * self.data_dim
        self._try_network("encoder", self.data_shape, width)
        self._try_network("decoder", [self.decoder_width], decoded)
        self._tried = these

    def _try_network(self, name: str, shape: list[int], width: int | None) -> None:
        network: nn.Module = getattr(self, name)
        network = getattr(network, "_orig_mod", network)  # of torch.compile
        like = next(network.parameters(), None)
        like = next(self.parameters(), torch.zeros(0)) if like is None else like
        modes = {module: module.training for module in network.modules()}
        network.eval()
        try:
            with torch.no_grad(), seeding.global_generators():
                given = network(torch.zeros(2, *shape, dtype=like.dtype, device=like.device))
        except Exception as error:  # a module of the user may raise anything
            first = (str(error).splitlines() or [""])[0]
            raise ConfigError(
                f"{name} {type(network).__name__}: fails on points of shape {[2, *shape]} "
                f"({type(error).__name__}: {first})."
            ) from error
        finally:
            for module, mode in modes.items():
                module.training = mode
        if not isinstance(given, Tensor) or width is None:
            found = None if isinstance(given, Tensor) else type(given).__name__
        else:
            found = None if list(given.shape) == [2, width] else str(list(given.shape))
        if found is not None:
            wanted = f"[B, {'width' if width is None else width}]"
            raise ConfigError(
                f"{name} {type(network).__name__}: gives {found} for two points of shape "
                f"{shape}: must give {wanted} for {type(self).__name__}."
            )

    @property
    def draws_elsewhere(self) -> bool:
        """Whether a part that is not of this package may draw from torch's global generators."""
        return any(
            bool(part._forward_hooks or part._forward_pre_hooks) or not _is_quiet(type(part))
            for part in self.modules()
        )

    @contextmanager
    def stream(self, seed: Any, name: str, index: int = 0) -> Iterator[None]:
        """Draw the numbers of one stream within a block; with the seed None, go on as before.

        Args:
            seed: root seed, or None.
            name: name of the stream.
            index: position within the stream.
        """
        if seed is None:
            yield
            return
        draws = seeding.torch_stream if self.draws_elsewhere else seeding.own_stream
        with draws(arguments.seed(seed), name, index):
            yield

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
        return {name: getattr(self, name) for name in self.hyperparameter_names}

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
        """Use ``distribution`` as the latent distribution ``fitted``.

        Raises:
            ConfigError: its dimension is another.
        """
        if list(distribution.event_shape) != [self.latent_dim]:
            raise ConfigError(
                f"fitted distribution of dimension {list(distribution.event_shape)}: must be "
                f"[{self.latent_dim}], the latent dimension."
            )
        self._fitted = distribution

    @inputs.takes_data
    def encode(self, x: Tensor) -> Distribution:
        """Return q(z | x) for ``x`` [B, *data_shape]; batch shape [B], event shape [m]."""
        mu, logvar = self._encoded(x)
        return DiagonalGaussian(mu, torch.exp(0.5 * logvar))

    @inputs.takes_latents
    def decode(self, z: Tensor) -> Distribution:
        """Return p(x | z) for ``z`` [B, m]; batch shape [B], event shape [n] (flat)."""
        return DiagonalGaussian(self.decoder(z), self.sigma)

    @inputs.takes_latents
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

    @inputs.takes_data
    def loss(self, x: Tensor) -> Loss:
        """Return the batch means of the objective for ``x`` [B, *data_shape], one z a point."""
        raise NotImplementedError

    @inputs.takes_data
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
        with training_step() as step:
            loss = self.loss(x, *labels)
            step.into_parameters = True
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
        source = seeding.generator(x.device)
        shape = (len(x), self.latent_dim)
        return torch.randn(shape, dtype=x.dtype, device=x.device, generator=source)

    def _squared_error(self, x: Tensor, mean: Tensor) -> Tensor:
        """Return |x - x_hat|^2 / sigma^2 per sample, [B]."""
        return (x.flatten(1) - mean).square().sum(1).mul(self.sigma**-2)

    # -- use -------------------------------------------------------------------------

    @torch.no_grad()
    def sample(
        self, n: int, latent: str = "prior", *, mean: bool = False, seed: int | None = None
    ) -> Tensor:
        """Return ``n`` new data points, [n, *data_shape].

        Args:
            n: number of points, 0 or more.
            latent: latent distribution, ``prior``, ``alternative`` or ``fitted``.
            mean: give the decoder's location instead of a draw from it.
            seed: root seed; the same seed gives the same points. None draws from torch's global
                generators.

        Raises:
            ConfigError: an argument is out of range, or no distribution was fitted.
        """
        return self.sample_pairs(n, latent, mean=mean, seed=seed)[1]

    def latent_stream(self, latent: str) -> str:
        """Name the stream of samples; the same where ``alternative`` is the prior."""
        same = latent == "alternative" and not self.has_alternative
        return f"sample/{'prior' if same else latent}"

    @torch.no_grad()
    def sample_pairs(
        self,
        n: int,
        latent: str = "prior",
        *,
        mean: bool = False,
        block: int = 65536,
        seed: int | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return latent points [n, m] and the data points decoded from them."""
        z, x, _ = self._drawn(n, latent, mean=mean, block=block, seed=seed)
        return z, x

    def _drawn(
        self, n: int, latent: str, *, mean: bool, block: int, seed: int | None, y: Any = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return latent points, data points and, for models that have them, labels."""
        n, block = arguments.whole("n", n, 0), arguments.whole("block", block, 1)
        self.check_networks()
        like = self._zeros()
        points = [like.new_empty(0, *self.data_shape)]
        latents, labels = [like.new_empty(0, self.latent_dim)], [like.new_empty(0).long()]
        with inputs.checked(), self.stream(seed, self.latent_stream(latent)):
            for z, *known in self._draw_latents(n, latent, block, y):
                x = self.decoder_mean(z) if mean else self.decode(z, *known).sample()
                latents.append(z)
                points.append(x.reshape(-1, *self.data_shape))
                labels += known
        return torch.cat(latents), torch.cat(points), torch.cat(labels)

    def _draw_latents(
        self, n: int, latent: str, block: int, y: Any
    ) -> Iterator[tuple[Tensor, ...]]:
        """Yield blocks of latent points, each with its labels where the model has them."""
        distribution, like = self.latent_distribution(latent), self._zeros()
        for start in range(0, n, block):
            yield (distribution.sample(torch.Size((min(block, n - start),))).to(like),)

    @torch.no_grad()
    @inputs.takes_data
    def reconstruct(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the decoder's location at one latent draw a point, [B, *data_shape].

        Labels ``y`` [B] are for conditional models.
        """
        labels = () if y is None else (y,)
        return self.decoder_mean(self.encode(x, *labels).sample()).reshape(-1, *self.data_shape)

    @torch.no_grad()
    def log_likelihood(
        self,
        x: Any,
        latent: str = "prior",
        *,
        samples: int = 1000,
        y: Any = None,
        seed: int | None = None,
    ) -> Tensor:
        """Return the importance-weighted log-likelihood of each point, [B].

        It is a lower bound on average, tight as ``samples`` grows (Burda et al. 2016).

        Args:
            x: data, [B, *data_shape], array or tensor.
            latent: latent distribution, ``prior``, ``alternative`` or ``fitted``.
            samples: importance samples for each point.
            y: labels [B], for conditional models: the likelihood is that of x given y.
            seed: root seed; None draws from torch's global generators.

        Raises:
            ConfigError: an argument is out of range, or no distribution was fitted.
            DataError: the data do not fit the model.

        Example:
            >>> from t3vae.models.vae import VAE
            >>> VAE(2, 1).log_likelihood([[0.0, 1.0]], samples=10, seed=0).shape
            torch.Size([1])
        """
        samples = arguments.whole("samples", samples, 1)
        self.check_networks()
        points = inputs.data(self, x, name="x")
        labels = inputs.labels(self, y, len(points), name="y") if self.conditional else None
        at_once = max(1, _NUMBERS_AT_ONCE // self.data_dim)
        size = max(1, at_once // samples)
        found = [points.new_empty(0)]
        with inputs.checked(), self.stream(seed, "log_likelihood"):
            for start in range(0, len(points), size):
                rows = slice(start, start + size)
                known = {} if labels is None else {"y": labels[rows]}
                density = {latent: self._density(latent, **known)}
                weights = self.log_weights(points[rows], samples, density, block=at_once, **known)
                found.append(torch.logsumexp(weights[latent], 0) - math.log(samples))
        return torch.cat(found)

    def _density(self, latent: str, y: Tensor | None = None) -> Distribution:
        """Return the latent distribution of a joint density."""
        return self.latent_distribution(latent)

    @torch.no_grad()
    @inputs.takes_data
    def log_weights(
        self,
        x: Tensor,
        samples: int,
        distributions: Mapping[str, Distribution],
        *,
        block: int = 131072,
        y: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Return log p(x, z) - log q(z | x) for z ~ q(z | x), [samples, B] for each distribution.

        The importance-weighted log-likelihood of Burda et al. (2016) is the log-mean-exp
        over the first axis. The latent distribution is part of the joint density; samples and
        decoder densities are shared by the distributions.

        Args:
            x: data, [B, *data_shape].
            samples: importance samples for each point.
            distributions: latent distributions by name; of a conditional model those given the
                label of each point (see its ``class_distribution``).
            block: largest number of decoder evaluations at once.
            y: labels [B], for conditional models: all densities are those given the label.
        """
        samples = arguments.whole("samples", samples, 1)
        labels = () if y is None else (y,)
        flat, posterior = x.flatten(1), self.encode(x, *labels)
        result: dict[str, list[Tensor]] = {name: [] for name in distributions}
        step = max(1, block // max(1, len(x)))
        for start in range(0, samples, step):
            count = min(step, samples - start)
            z = posterior.sample(torch.Size((count,)))
            each = [label.repeat(count) for label in labels]
            decoded = self.decode(z.reshape(-1, self.latent_dim), *each)
            target = flat.expand(count, -1, -1).reshape(-1, self.data_dim)
            shared = decoded.log_prob(target).reshape(count, -1) - posterior.log_prob(z)
            for name, distribution in distributions.items():
                result[name].append(shared + distribution.log_prob(z))
        return {name: torch.cat(parts) for name, parts in result.items()}

    # -- what is done with a model after training lies above this room -----------------

    if TYPE_CHECKING:  # the package itself opens these doors, see `t3vae.__getattr__`

        def save(self, path: Any) -> None:
            """Write the model to one file; the same as ``t3vae.save(model, path)``."""

        def fit_latent(self, x: Any, *, seed: int = 0, **options: Any) -> TMixture:
            """Fit the distribution ``fitted``; the same as ``t3vae.fit_latent(model, x)``."""
