"""Custom model families, named by an import path; their parameters are checked here.

Only a file of parameters that names such a family makes this module import anything.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from t3vae.settings.catalogue import is_import_path
from t3vae.settings.problems import Problem, shown, validation_problems
from t3vae.settings.yaml_reader import UNKNOWN

__all__ = ["check_imported"]

TAKEN = {"family", "data_dim", "latent_dim", "sigma", "network", "encoder", "decoder"}
"""Names that a family cannot declare, because every model has them."""


def check_imported(values: dict[str, Any], folder: Path) -> list[Problem]:
    """Check models with an imported family; write their defaults into ``values``.

    Args:
        values: the values of the file.
        folder: folder of the file, from which modules are imported too.
    """
    problems: list[Problem] = []
    models = values.get("models")
    if not isinstance(models, dict):
        return problems
    for name, entry in models.items():
        family = entry.get("family") if isinstance(entry, dict) else None
        if not is_import_path(family):
            continue
        before = [*sys.path]
        sys.path.append(str(Path(folder).resolve()))  # after everything that is installed
        try:
            config = _config_class(str(family))
        except Exception as error:  # a module of the user may raise anything
            message = f"cannot be used ({type(error).__name__}: {error}). Check module and class."
            problems.append(Problem(("models", name, "family"), shown(family), message))
            continue
        finally:
            sys.path[:] = before
        given = {key: value for key, value in entry.items() if key != "family"}
        try:
            filled = config.model_validate(given).model_dump(mode="json")
        except ValidationError as error:
            problems += validation_problems(error, given, config, ("models", name))
            continue
        if not any(value is UNKNOWN for value in given.values()):
            models[name] = {**filled, "family": family}
    return problems


def _config_class(family: str) -> type[BaseModel]:
    module, _, name = family.partition(":")
    config = getattr(getattr(importlib.import_module(module), name), "Config", None)
    if not (isinstance(config, type) and issubclass(config, BaseModel)):
        raise TypeError(f"{name} has no nested class Config derived from pydantic.BaseModel")
    taken = sorted(TAKEN & set(config.model_fields))
    if taken:
        raise TypeError(f"{name}.Config declares {', '.join(taken)}, which every model has")
    return config
