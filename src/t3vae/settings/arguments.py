"""Arguments of the Python API, checked by the declarations that check ``params.yaml``.

Numbers of NumPy and torch are taken as plain ones. A number with a fraction part of zero, which
a file may write where a whole number is meant, is refused: in Python it comes from a division.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import reduce
from operator import getitem
from typing import Any

from pydantic import BaseModel, ValidationError

from t3vae.errors import ConfigError
from t3vae.settings import problems
from t3vae.settings.blocks import Block, Seed, field
from t3vae.settings.catalogue import is_import_path
from t3vae.settings.declarations import plain as declared
from t3vae.settings.families import NETWORKS, ImportedNetwork
from t3vae.settings.yaml_reader import short

__all__ = ["check", "network", "plain", "real", "seed", "shown", "whole"]


class _Seeded(Block):
    seed: Seed = field("Root seed.")


def plain(value: Any) -> Any:
    """Return numbers of NumPy and torch as plain ones, inside lists and mappings too.

    Example:
        >>> import numpy as np
        >>> plain({"hidden": [np.int64(64)], "slope": np.float64(0.5)})
        {'hidden': [64], 'slope': 0.5}
    """
    if isinstance(value, Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if getattr(value, "shape", None) == () and callable(getattr(value, "item", None)):
        return value.item()
    return value


def shown(value: Any) -> str:
    """Write a value for a message, the same each time: without an address in memory."""
    if value is None or isinstance(value, (bool, int, float)):
        return str(value)
    if isinstance(value, str):
        return repr(short(value))
    if isinstance(value, (list, tuple)) and all(isinstance(v, (int, float, str)) for v in value):
        return short(str(list(value)))
    shape = getattr(value, "shape", None)
    kind = value.__name__ if isinstance(value, type) else type(value).__name__
    return f"<{kind} of shape {list(shape)}>" if isinstance(shape, tuple) else f"<{kind}>"


def check(kind: type[BaseModel], values: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """Return arguments as plain values that fit their declaration.

    Args:
        kind: the declarations.
        values: arguments by name.
        where: what the names stand in, in front of each of them in a message.

    Raises:
        ConfigError: an argument is unknown, or is not what was declared; one line for each.

    Example:
        >>> from t3vae.settings.config import LatentFit
        >>> check(LatentFit, {"max_components": 0})
        Traceback (most recent call last):
        ...
        t3vae.errors.ConfigError: max_components = 0: must be at least 1.
    """
    given = plain(values)
    fractions = [
        name
        for name, info in kind.model_fields.items()
        if isinstance(given.get(name), float) and declared(info.annotation) is int
    ]
    lines = [f"{where}{n} = {given[n]}: must be a whole number, an int." for n in fractions]
    try:
        checked: dict[str, Any] = kind.model_validate(given).model_dump()
    except ValidationError as error:
        for problem in problems.validation_problems(error, given, kind):
            if problem.path[0] in fractions:
                continue
            text = (
                "" if problem.value is None else f" = {shown(reduce(getitem, problem.path, given))}"
            )
            lines.append(f"{where}{problems.dotted(problem.path)}{text}: {problem.message}")
    if lines:
        raise ConfigError(lines)
    return {name: checked[name] for name in values}


def seed(value: Any) -> int:
    """Return a seed as an int.

    Raises:
        ConfigError: it is no whole number from 0 to 2^32 - 1.

    Example:
        >>> import numpy as np
        >>> seed(np.int64(3))
        3
    """
    return int(check(_Seeded, {"seed": value})["seed"])


def whole(name: str, value: Any, least: int, most: int | None = None) -> int:
    """Return a whole number as an int.

    Raises:
        ConfigError: it is not whole, below ``least`` or above ``most``.

    Example:
        >>> whole("n", 2.5, 0)
        Traceback (most recent call last):
        ...
        t3vae.errors.ConfigError: n = 2.5: must be a whole number, at least 0.
    """
    number = plain(value)
    fits = isinstance(number, int) and not isinstance(number, bool) and number >= least
    if not fits or (most is not None and number > most):
        bounds = f"at least {least}" if most is None else f"from {least} to {most}"
        raise ConfigError(f"{name} = {shown(number)}: must be a whole number, {bounds}.")
    return int(number)


def real(name: str, value: Any) -> float:
    """Return a finite number as a float.

    Raises:
        ConfigError: it is no number, or not finite.
    """
    number = plain(value)
    is_number = isinstance(number, (int, float)) and not isinstance(number, bool)
    if not (is_number and math.isfinite(number)):
        raise ConfigError(f"{name} = {shown(number)}: must be a finite number.")
    return float(number)


def network(description: Any) -> dict[str, Any]:
    """Return the description of a network, checked as one of ``networks`` in ``params.yaml``.

    Keys that have a default in :mod:`t3vae.networks` may be absent.

    Raises:
        ConfigError: an unknown kind, an unknown key or a value out of range.
    """
    given = plain(description)
    if not isinstance(given, dict):
        raise ConfigError(f"network = {shown(given)}: must be a mapping with the key `kind`.")
    kind = given.get("kind")
    if kind not in [*NETWORKS] and not is_import_path(kind):
        raise ConfigError(
            f"network.kind = {shown(kind)}: must be one of {', '.join(NETWORKS)}, or an import "
            "path such as my_networks:build."
        )
    declaration = NETWORKS[str(kind)].options if kind in NETWORKS else ImportedNetwork
    required = {"hidden": [64]} if "hidden" in declaration.model_fields else {}
    check(declaration, {**required, **given}, "network.")
    return given
