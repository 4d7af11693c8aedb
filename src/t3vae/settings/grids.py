"""`grid`: several models of one entry, each with a name of its own."""

from __future__ import annotations

import math
import re
from collections.abc import Container, Iterator, Mapping
from itertools import product
from typing import Any, NamedTuple

from t3vae.settings.blocks import NAME_PATTERN
from t3vae.settings.problems import Path_, Problem, shown
from t3vae.settings.yaml_reader import UNKNOWN

__all__ = ["Member", "Refused", "members", "with_members"]

MOST = 1000


class Refused(Exception):  # noqa: N818 - it takes a problem to where all are kept
    """A block that cannot be expanded; without a message there is a problem of it already."""

    def __init__(self, path: Path_ = (), value: Any = None, message: str = "") -> None:
        text = None if value is None else shown(value)
        self.problem = Problem(path, text, message) if message else None


class Member(NamedTuple):
    """A model that a grid makes: its values, and where each is written."""

    name: str
    values: Mapping[str, Any]
    places: Mapping[str, Path_]


def members(entry: str, block: Mapping[str, Any], taken: Container[str]) -> Iterator[Member]:
    """Yield the models that an entry makes, the last key of the grid changing fastest.

    Args:
        entry: its name in ``models``.
        block: its keys, with ``grid`` and perhaps ``pattern``.
        taken: names that no member may have.

    Raises:
        Refused: the grid is no block of lists, or makes a wrong name or one name twice.

    Example:
        >>> block = {"grid": {"beta": [0.1, 5.0]}, "pattern": "{name}_{beta}"}
        >>> [member.name for member in members("vae", block, ())]
        ['vae_0p1', 'vae_5']
    """
    grid, path = block["grid"], ("models", entry, "grid")
    lists: list[Any] = list(grid.values()) if isinstance(grid, dict) else [None]
    if not lists or not all(isinstance(each, list) and each for each in lists):
        raise Refused(path, grid, "must be a block of lists. Write it as {nu: [5.0, 9.0]}.")
    if math.prod(map(len, lists)) > MOST:
        raise Refused(path, None, f"makes more than {MOST} models. Write fewer values.")
    default = "_".join(["{name}", *(f"{key}{{{key}}}" for key in grid)])
    pattern = default if block.get("pattern") is None else block["pattern"]
    if not isinstance(pattern, str):
        raise Refused(("models", entry, "pattern"), pattern, f"must be text such as '{default}'.")
    made: set[str] = set()
    for indices in product(*(range(len(each)) for each in lists)):
        values = {key: grid[key][i] for key, i in zip(grid, indices, strict=True)}
        places = {key: (*path, key, i) for key, i in zip(grid, indices, strict=True)}
        if any(value is UNKNOWN for value in values.values()):
            continue
        name = pattern.replace("{name}", entry)
        for key, value in values.items():
            name = name.replace(f"{{{key}}}", _text(value))
        clash = name in taken or name in made
        if clash or not re.match(NAME_PATTERN, name):
            wrong = "once more" if clash else "which is no name of a model"
            message = f"makes `{name}`, {wrong}. Change the values, or `pattern`."
            raise Refused(next(iter(places.values())), next(iter(values.values())), message)
        made.add(name)
        yield Member(name, values, places)


def with_members(
    listed: list[Any], entries: Mapping[str, list[str]]
) -> tuple[list[Any], list[int]]:
    """Return a list of models in which an entry stands for its members, and where each stood.

    A member that the list names itself keeps its place.

    Example:
        >>> with_members(["t_nu9", "t", "vae"], {"t": ["t_nu5", "t_nu9"]})
        (['t_nu9', 't_nu5', 'vae'], [0, 1, 2])
    """
    named = {model for model in listed if isinstance(model, str)}
    models: list[Any] = []
    places: list[int] = []
    for i, model in enumerate(listed):
        found = entries.get(model) if isinstance(model, str) else None
        chosen = [each for each in found if each not in named] if found else [model]
        models += chosen
        places += [i] * len(chosen)
    return models, places


def _text(value: Any) -> str:
    """Write a value as a part of a name: 0.1 as 0p1, 5.0 as 5."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    text = f"{value:.12g}".replace("+", "") if number else str(value).lower()
    return text.replace(".", "p").replace("-", "m")
