"""Model families, loaded by name.

A family is a name of the catalogue (:mod:`t3vae.settings.families`) or an import path
``package.module:Class`` of a class with the contract of :class:`t3vae.models.base.Model` and
a nested pydantic ``Config`` that declares its parameters.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

from t3vae.errors import ConfigError
from t3vae.settings import catalogue
from t3vae.settings.families import FAMILIES

if TYPE_CHECKING:
    from t3vae.models.base import Model

__all__ = ["build", "family_name", "initialisation", "model_class"]


def model_class(family: str) -> type[Model]:
    """Return the class of a family.

    Raises:
        ConfigError: the family is unknown or its module cannot be imported.
    """
    loaded: type[Model] = catalogue.load(FAMILIES, family, "family")
    base = import_module("t3vae.models.base").Model
    if not (isinstance(loaded, type) and issubclass(loaded, base)):
        raise ConfigError(
            f"family {family!r}: must be a class derived from t3vae.models.base.Model."
        )
    return loaded


def family_name(model: Model) -> str:
    """Return the name or import path of the family of ``model``."""
    path = f"{type(model).__module__}:{type(model).__qualname__}"
    return next((name for name, known in FAMILIES.items() if known.code == path), path)


def build(
    config: Mapping[str, Any],
    data_shape: Sequence[int],
    latent_dim: int,
    *,
    sigma: float,
    network: Mapping[str, Any] | None = None,
    classes: int | None = None,
    kind: type[Model] | None = None,
    **networks: Any,
) -> Model:
    """Build a model from its entry in ``params.yaml``; ``classes`` is for conditional ones.

    Args:
        config: ``family`` and its parameters.
        data_shape, latent_dim, sigma, network, classes: see :class:`t3vae.models.base.Model`.
        kind: class of the model, instead of that of its family.
        networks: modules ``encoder`` and ``decoder`` instead of those of ``network``.

    Example:
        >>> build({"family": "t3vae", "nu": 9.0}, [1], 1, sigma=0.1).nu
        9.0
    """
    parameters = dict(config)
    family = parameters.pop("family")
    found = model_class(family) if kind is None else kind
    if found.conditional:
        parameters["classes"] = classes
    parameters |= networks
    return found(list(data_shape), latent_dim, sigma=sigma, network=network, **parameters)


@contextmanager
def initialisation(seed: int) -> Iterator[None]:
    """Give models that are built within a block the first weights of a seed.

    These are the weights that ``t3vae train`` starts from with this seed. torch's global
    generators are restored afterwards. Layers draw from those, which all threads share: one
    thread at a time is in such a block, and others must not draw from them meanwhile.

    Args:
        seed: root seed, from 0 to 2^32 - 1.

    Raises:
        ConfigError: it is no such number.

    Example:
        >>> import torch
        >>> from t3vae.models.vae import VAE
        >>> with initialisation(0):
        ...     a = VAE(2, 1)
        >>> with initialisation(0):
        ...     b = VAE(2, 1)
        >>> torch.equal(next(a.parameters()), next(b.parameters()))
        True
    """
    from t3vae.runtime.seeding import torch_stream
    from t3vae.settings import arguments

    with torch_stream(arguments.seed(seed), "train/initialisation"):
        yield
