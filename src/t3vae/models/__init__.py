"""The registry of model families, loaded by name.

A family is a name of :data:`FAMILIES` or an import path ``package.module:Class`` of a
class with the contract of :class:`t3vae.models.base.Model` and a nested pydantic
``Config`` that declares its parameters.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from t3vae.errors import ConfigError

if TYPE_CHECKING:
    from t3vae.models.base import Model

__all__ = ["FAMILIES", "build", "family_name", "model_class"]

FAMILIES = {
    "vae": "t3vae.models.vae:VAE",
    "student_t_vae": "t3vae.models.student_t_vae:StudentTVAE",
    "de_vae": "t3vae.models.de_vae:DEVAE",
    "vae_st": "t3vae.models.vae_st:VAEst",
    "t3vae": "t3vae.models.t3vae:T3VAE",
    "gaussian_twin": "t3vae.models.gaussian_twin:GaussianTwin",
    "tilted_vae": "t3vae.models.tilted_vae:TiltedVAE",
    "factor_vae": "t3vae.models.factor_vae:FactorVAE",
    "hvae": "t3vae.models.hvae:HVAE",
    "t3hvae": "t3vae.models.t3hvae:T3HVAE",
    "c_vae": "t3vae.models.c_vae:CVAE",
    "c_t3vae": "t3vae.models.c_t3vae:CT3VAE",
}


def model_class(family: str) -> type[Model]:
    """Return the class of a family.

    Raises:
        ConfigError: the family is unknown or its module cannot be imported.
    """
    path = FAMILIES.get(family, family)
    module_name, _, class_name = str(path).partition(":")
    if not class_name:
        raise ConfigError(
            f"family {family!r}: must be one of {', '.join(sorted(FAMILIES))}, or an import path "
            "such as my_models:MyVAE."
        )
    try:
        loaded: type[Model] = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"family {family!r}: cannot be imported ({error}). Put its folder on PYTHONPATH."
        ) from error
    base = importlib.import_module("t3vae.models.base").Model
    if not (isinstance(loaded, type) and issubclass(loaded, base)):
        raise ConfigError(
            f"family {family!r}: must be a class derived from t3vae.models.base.Model."
        )
    return loaded


def family_name(model: Model) -> str:
    """Return the name or import path of the family of ``model``."""
    path = f"{type(model).__module__}:{type(model).__qualname__}"
    return next((name for name, known in FAMILIES.items() if known == path), path)


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
