"""Model families, loaded by name.

A family is a name of the catalogue (:mod:`t3vae.settings.families`) or an import path
``package.module:Class`` of a class with the contract of :class:`t3vae.models.base.Model` and
a nested pydantic ``Config`` that declares its parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from t3vae.errors import ConfigError
from t3vae.settings import catalogue
from t3vae.settings.families import FAMILIES

if TYPE_CHECKING:
    from t3vae.models.base import Model

__all__ = ["build", "family_name", "model_class"]


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
) -> Model:
    """Build a model from its entry in ``params.yaml``; ``classes`` is for conditional ones.

    Example:
        >>> build({"family": "t3vae", "nu": 9.0}, [1], 1, sigma=0.1).nu
        9.0
    """
    parameters = dict(config)
    family = parameters.pop("family")
    found = model_class(family)
    if found.conditional:
        parameters["classes"] = classes
    return found(list(data_shape), latent_dim, sigma=sigma, network=network, **parameters)
