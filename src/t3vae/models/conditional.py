r"""What the conditional models share: labels in the encoder, a prior location for each class.

The label enters the encoder as an embedding beside its features; the decoder sees z alone.
Each class has a learnt prior location mu_y. A latent distribution without a label is the mixture of
the distributions of all classes with equal weights, which gives class-balanced samples however rare
a class is in training. The distribution ``fitted`` is one t distribution for each class.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, constraints

from t3vae.errors import ConfigError, DataError
from t3vae.maths.distributions import MultivariateT, TMixture, check_event
from t3vae.models import inputs
from t3vae.models.base import LATENT_DISTRIBUTIONS, Loss, Model
from t3vae.models.two_level import feature_width
from t3vae.runtime.seeding import generator
from t3vae.settings import arguments

__all__ = ["ClassMixture", "ConditionalModel"]


class ClassMixture(Distribution):
    """The mixture of the distributions of all classes, with equal weights.

    Args:
        component: from labels [...] to the distributions of their classes, batch shape [...].
        labels: all labels, [K].
        dim: event dimension m.

    Example:
        >>> from t3vae.maths.distributions import DiagonalGaussian
        >>> centres = torch.tensor([[-3.0], [3.0]])
        >>> mixture = ClassMixture(lambda y: DiagonalGaussian(centres[y], 1.0), torch.arange(2), 1)
        >>> mixture.sample((5,)).shape, mixture.log_prob(torch.zeros(5, 1)).shape
        (torch.Size([5, 1]), torch.Size([5]))
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    support = constraints.real_vector
    has_rsample = False

    def __init__(
        self, component: Callable[[Tensor], Distribution], labels: Tensor, dim: int
    ) -> None:
        self.component, self.labels = component, labels
        super().__init__(torch.Size(), torch.Size((dim,)), validate_args=False)

    def sample_labels(self, shape: Any) -> Tensor:
        """Draw labels, each class as likely as any other."""
        device = self.labels.device
        index = torch.randint(
            len(self.labels), torch.Size(shape), device=device, generator=generator(device)
        )
        return self.labels[index]

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draw [*sample_shape, m]."""
        with torch.no_grad():
            drawn: Tensor = self.component(self.sample_labels(sample_shape)).sample()
        return drawn

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density at value [..., m]."""
        check_event(value, self.event_shape[0])
        terms = self.component(self.labels).log_prob(value.unsqueeze(-2))
        return torch.logsumexp(terms, -1) - math.log(len(self.labels))


class ConditionalModel(Model):
    """Base of the conditional models.

    Args:
        data_dim, latent_dim, sigma, beta, network, encoder, decoder: see :class:`Model`; the
            encoder gives features and says how many by its attribute ``width``.
        classes: number of classes K; labels are 0, ..., K - 1.

    Raises:
        ConfigError: the number of classes is missing or not positive.
    """

    conditional = True

    def __init__(
        self, data_dim: Any, latent_dim: int, *, classes: int | None = None, **parts: Any
    ) -> None:
        super().__init__(data_dim, latent_dim, **parts)
        if classes is None:
            raise ConfigError("classes = None: must be the number of classes of the data.")
        self.classes = arguments.whole("classes", classes, 1)
        latent_dim = self.latent_dim
        self.label = nn.Embedding(self.classes, latent_dim)
        self.head = nn.Linear(feature_width(self.encoder) + latent_dim, 2 * latent_dim)
        self.centres = nn.Embedding(self.classes, latent_dim)
        nn.init.zeros_(self.centres.weight)

    @property
    def encoder_width(self) -> int | None:
        """None: the last layer sees the label too and is the model's."""
        return None

    def _labels(self, y: Tensor | None) -> Tensor:
        if y is not None and inputs.is_checked():
            return y.to(self.centres.weight.device, torch.int64)
        return inputs.labels(self, y, name="y")

    def _density(self, latent: str, y: Any = None) -> Distribution:
        return self.class_distribution(latent, y)

    def _heads(self, x: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor]:
        features = torch.cat([self.encoder(x), self.label(self._labels(y))], 1)
        mu, logvar = self.head(features).chunk(2, 1)
        return mu, logvar

    # -- distributions ------------------------------------------------------------------------

    def _class_prior(self, centre: Tensor) -> Distribution:
        """Return p(z | y) for locations mu_y [..., m]."""
        raise NotImplementedError

    def _class_alternative(self, centre: Tensor) -> Distribution:
        """Return the distribution that the regularizer pulls encodings of a class to."""
        return self._class_prior(centre)

    @property
    def has_alternative(self) -> bool:
        """Whether the alternative distribution is another than the prior."""
        return type(self)._class_alternative is not ConditionalModel._class_alternative

    def class_distribution(self, name: str, y: Tensor) -> Distribution:
        """Return the latent distribution ``name`` of the classes ``y`` [...]; batch shape [...].

        Raises:
            ConfigError: the name is unknown, or no distribution was fitted.
        """
        y = self._labels(y)
        if name == "fitted":
            distribution = super().latent_distribution(name)
            assert isinstance(distribution, TMixture)
            return MultivariateT(distribution.loc[y], distribution.scale[y], distribution.nu[y])
        if name not in LATENT_DISTRIBUTIONS:
            raise ConfigError(
                f"latent = {name!r}: must be one of {', '.join(LATENT_DISTRIBUTIONS)}."
            )
        centre = self.centres(y)
        return self._class_prior(centre) if name == "prior" else self._class_alternative(centre)

    def latent_distribution(self, name: str) -> ClassMixture:
        """Return a latent distribution without a label: the classes with equal weights."""
        labels = torch.arange(self.classes, device=self.centres.weight.device)

        def component(y: Tensor) -> Distribution:
            with inputs.checked():
                return self.class_distribution(name, y)

        component(labels[:1])  # unknown names are refused here
        return ClassMixture(component, labels, self.latent_dim)

    def prior(self) -> ClassMixture:
        """The mixture of the classes' priors, with equal weights."""
        return self.latent_distribution("prior")

    def alternative(self) -> ClassMixture:
        """The mixture of the distributions that the regularizer pulls the classes to."""
        return self.latent_distribution("alternative")

    def set_fitted(self, distribution: TMixture) -> None:
        """Use ``distribution``, one component for each class in order, as the one named ``fitted``.

        Raises:
            ConfigError: the number of components is not that of the classes.
        """
        if len(distribution.nu) != self.classes:
            raise ConfigError(
                f"fitted with {len(distribution.nu)} components: needs one for each of the "
                f"{self.classes} classes; fit it with fit_latent(x, labels)."
            )
        super().set_fitted(distribution)

    def encode(self, x: Tensor, y: Tensor | None = None) -> Distribution:
        """Return q(z | x, y) for ``x`` [B, *data_shape] and labels ``y`` [B]."""
        raise NotImplementedError

    def decode(self, z: Tensor, y: Tensor | None = None) -> Distribution:
        """Return p(x | z, y) for ``z`` [B, m] and labels ``y`` [B]."""
        return super().decode(z)

    def loss(self, x: Tensor, y: Tensor | None = None) -> Loss:
        """Return the batch means of the objective for ``x`` and labels ``y`` [B]."""
        raise NotImplementedError

    # -- use -------------------------------------------------------------------------

    @torch.no_grad()
    def sample(
        self,
        n: int,
        latent: str = "prior",
        *,
        mean: bool = False,
        y: Any = None,
        seed: int | None = None,
    ) -> Tensor:
        """Return ``n`` new data points; of class ``y`` (a label or [n]), else of all alike."""
        return self.sample_labelled(n, latent, mean=mean, y=y, seed=seed)[2]

    @torch.no_grad()
    def sample_labelled(
        self,
        n: int,
        latent: str = "prior",
        *,
        mean: bool = False,
        block: int = 65536,
        y: Any = None,
        seed: int | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return labels [n], latent points [n, m] and the data points decoded from them."""
        z, x, labels = self._drawn(n, latent, mean=mean, block=block, seed=seed, y=y)
        return labels, z, x

    def _draw_latents(
        self, n: int, latent: str, block: int, y: Any
    ) -> Iterator[tuple[Tensor, ...]]:
        distribution = self.latent_distribution(latent)
        given = y is not None
        labels = self._labels_of_samples(y, n) if given else distribution.sample_labels((n,))
        for part in labels.split(block) if n else ():
            yield self.class_distribution(latent, part).sample(), part

    def _labels_of_samples(self, y: Any, n: int) -> Tensor:
        """Return labels [n] from one label or [n] of them."""
        labels = inputs.labels(self, y, name="y")
        if labels.dim() > 1 or (labels.dim() == 1 and len(labels) != n):
            raise DataError(
                f"y of shape {list(labels.shape)}: must be one label, or [{n}] of them."
            )
        return labels.expand(n)
