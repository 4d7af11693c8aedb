"""`like` and `grid`: what a named block takes from another, and several models of one entry.

Both are plain keys, so that every YAML reader reads them; overrides of the command line are
merged before they are expanded. A block with ``like: NAME`` takes block NAME of its section:
nested blocks merge, lists and other values are replaced. In a model, ``grid: {nu: [5, 9]}``
makes a model like this entry of each value; a block with the name of such a model changes it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

from t3vae.settings.blocks import NAME_PATTERN
from t3vae.settings.problems import Path_, Problem, nearest, shown
from t3vae.settings.yaml_reader import UNKNOWN

__all__ = ["SECTIONS", "Expansion", "holds"]

SECTIONS = (
    *("datasets", "networks", "models", "training", "sampling", "extractors", "evaluation"),
    "experiments",
)
"""Sections of named blocks."""

MOST_MEMBERS = 1000


class Layer(NamedTuple):
    """Keys written in one place; those of a grid have places of their own."""

    values: Mapping[str, Any]
    path: Path_
    places: Mapping[str, Path_] = {}


class Expansion:
    """Values with `like` and `grid` written out, and the place in the file of each.

    Attributes:
        values: the expanded values; what does not change is not copied.
        problems: what is wrong with `like` and `grid`; such a block is UNKNOWN.

    Example:
        >>> found = Expansion({"models": {"a": {"nu": 5.0}, "b": {"like": "a", "beta": 2.0}}})
        >>> found.values["models"]["b"], found.written(("models", "b", "nu"))
        ({'nu': 5.0, 'beta': 2.0}, ('models', 'a', 'nu'))
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = dict(values)
        self.problems: list[Problem] = []
        self._sections: dict[str | int, _Section] = {}
        self._indices: dict[Path_, list[int]] = {}
        members: dict[str, list[str]] = {}
        for name in SECTIONS:
            blocks = values.get(name)
            if not isinstance(blocks, dict):
                continue
            if name == "experiments" and members:
                blocks = {key: self._named(key, block, members) for key, block in blocks.items()}
            self._sections[name] = section = _Section(name, blocks, self.problems)
            self.values[name] = section.expanded()
            if name == "models":
                members = section.members

    def written(self, path: Path_) -> Path_:
        """Return the path in the file of a value, or of what is missing there."""
        layers = self._layers(path)
        for length in range(len(path), 2, -1):
            for layer in layers:
                if holds(layer.values, path[2:length]):
                    start = layer.places.get(str(path[2]), (*layer.path, path[2]))
                    return self._of_list((*start, *path[3:]))
        return self._of_list((*layers[0].path[:2], *path[2:]) if layers else path)

    def made(self, path: Path_) -> bool:
        """Say whether a block is one that a grid makes and no block of the file changes."""
        return any(layer.path[:2] != path[:2] for layer in self._layers(path)[:1])

    def taken_from(self, path: Path_) -> list[Path_]:
        """Return the path of a value, or of what is missing, in each block it is taken from."""
        own, *others = self._layers(path) or [Layer({}, ())]
        return [] if holds(own.values, path[2:]) else [(*o.path, *path[2:]) for o in others]

    def _layers(self, path: Path_) -> list[Layer]:
        """Return what a block is made of, its own layer first."""
        section = self._sections.get(path[0]) if len(path) > 1 else None
        return section.layers(str(path[1])) if section else []

    def _of_list(self, path: Path_) -> Path_:
        """Return the path with the index that an entry of `models` has in the file."""
        indices = self._indices.get(path[:3], ())
        if len(path) > 3 and isinstance(path[3], int) and path[3] < len(indices):
            return (*path[:3], indices[path[3]])
        return path

    def _named(self, name: str, block: Any, members: Mapping[str, list[str]]) -> Any:
        """Return an experiment in whose models an entry with a grid stands for its members."""
        listed = block.get("models") if isinstance(block, dict) else None
        if not isinstance(listed, list):
            return block
        named = {model for model in listed if isinstance(model, str)}
        models, indices = [], []
        for i, model in enumerate(listed):
            found = members.get(model) if isinstance(model, str) else None
            chosen = [each for each in found if each not in named] if found else [model]
            models += chosen
            indices += [i] * len(chosen)
        self._indices["experiments", name, "models"] = indices
        return {**block, "models": models}


class _Refused(Exception):  # noqa: N818 - it takes a problem to where all are kept
    def __init__(self, path: Path_ = (), value: Any = None, message: str = "") -> None:
        text = None if value is None else shown(value)
        self.problem = Problem(path, text, message) if message else None


class _Section:
    """The blocks of one section: what is written for each, nearest first, and what it is like."""

    def __init__(self, name: str, blocks: Mapping[str, Any], problems: list[Problem]) -> None:
        self.name = name
        self.blocks = blocks
        self.problems = problems
        self.members: dict[str, list[str]] = {}  # of each entry with a grid
        self.own: dict[str, list[Layer]] = {}
        self.like: dict[str, Any] = {}
        self.merged: dict[str, dict[str, Any]] = {}
        for key, block in blocks.items():
            if isinstance(block, dict):
                grid = name == "models" and "grid" in block
                dropped = ("like", "grid", "pattern") if grid else ("like",)
                values = {k: v for k, v in block.items() if k not in dropped}
                self.own[key], self.like[key] = [Layer(values, (name, key))], block.get("like")
                if grid and block["grid"] is not None:
                    self.members[key] = []
        for key in self.members:
            self._attempt(self._make, key)

    def expanded(self) -> dict[str, Any]:
        """Return the blocks written out; members of a grid stand where their entry stands."""
        names = [each for name in self.blocks for each in self.members.get(name) or [name]]
        return {name: self._attempt(self._block, name) for name in names}

    def layers(self, name: str) -> list[Layer]:
        """Return all layers of a block that was written out, its own first."""
        found: list[Layer] = []
        while name in self.merged:
            found += self.own[name]
            name = self.like[name]
        return found

    def _attempt(self, step: Any, name: str) -> Any:
        try:
            return step(name)
        except _Refused as refused:
            if refused.problem is not None and refused.problem not in self.problems:
                self.problems.append(refused.problem)
            return UNKNOWN

    def _block(self, name: str) -> Any:
        if name in self.members:
            raise _Refused  # with its grid
        if name not in self.own:
            return self.blocks[name]
        chain: dict[str, None] = {}
        following: str | None = name
        while following is not None and following not in self.merged:
            chain[following] = None
            following = self._next(following, chain)
        for each in reversed(chain):
            values = self.merged.get(self.like[each], {})
            for layer in reversed(self.own[each]):
                values = _merge(values, layer.values)
            self.merged[each] = values
        return self.merged[name]

    def _next(self, name: str, chain: Mapping[str, None]) -> str | None:
        """Return what a block is like, or refuse it; the chain leads to this block."""
        like, path = self.like[name], (self.name, name, "like")
        if like is None:
            return None
        if like is UNKNOWN:
            raise _Refused
        if not isinstance(like, str):
            raise _Refused(path, like, f"must be the name of a block in `{self.name}`.")
        if like in chain:
            names = [*chain][[*chain].index(like) :]
            first = names.index(min(names))
            names = [*names[first:], *names[: first + 1]]
            message = f"a circle, {' -> '.join(names)}. Write the keys of one of them out."
            raise _Refused((self.name, names[0], "like"), names[1], message)
        if like not in self.own:
            if like in self.blocks:  # no block; this is a problem of its own
                raise _Refused
            known = [each for each in {**self.blocks, **self.own} if each not in chain]
            raise _Refused(path, like, f"not in `{self.name}`. {nearest(like, known)}")
        return like

    def _make(self, entry: str) -> None:
        """Make the members of an entry with a grid: blocks that are like it."""
        grid, path = self.blocks[entry]["grid"], (self.name, entry, "grid")
        lists: list[Any] = list(grid.values()) if isinstance(grid, dict) else [None]
        if not lists or not all(isinstance(each, list) and each for each in lists):
            message = "must be a block of lists. Write it as {nu: [5.0, 9.0]}."
            raise _Refused(path, grid, message)
        if math.prod(map(len, lists)) > MOST_MEMBERS:
            message = f"makes more than {MOST_MEMBERS} models. Write fewer values."
            raise _Refused(path, None, message)
        pattern = self.blocks[entry].get("pattern") or "_".join(
            ["{name}", *(f"{key}{{{key}}}" for key in grid)]
        )
        taken = {*self.members, *(name for made in self.members.values() for name in made)}
        for indices in product(*(range(len(each)) for each in lists)):
            values = {key: grid[key][i] for key, i in zip(grid, indices, strict=True)}
            places = {key: (*path, key, i) for key, i in zip(grid, indices, strict=True)}
            if any(value is UNKNOWN for value in values.values()):
                continue
            name = _name(str(pattern), {"name": entry, **values})
            if name in taken or not re.match(NAME_PATTERN, name):
                wrong = "once more" if name in taken else "which is no name of a model"
                message = f"makes `{name}`, {wrong}. Change the values, or `pattern`."
                raise _Refused(next(iter(places.values())), next(iter(values.values())), message)
            taken.add(name)
            self.members[entry].append(name)
            if name in self.own or name not in self.blocks:
                self.own.setdefault(name, []).append(Layer(values, path, places))
                self.like[name] = entry if self.like.get(name) is None else self.like[name]


def _name(pattern: str, values: Mapping[str, Any]) -> str:
    """Put values of a grid into a pattern for a name.

    Example:
        >>> _name("{name}_nu{nu}", {"name": "t3vae", "nu": 2.5})
        't3vae_nu2p5'
        >>> _name("{name}_{beta}", {"name": "vae", "beta": 5.0})
        'vae_5'
    """
    for key, value in values.items():
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        text = f"{value:.12g}".replace("+", "") if number else str(value).lower()
        pattern = pattern.replace(f"{{{key}}}", text.replace(".", "p").replace("-", "m"))
    return pattern


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        inner = merged.get(key)
        if isinstance(inner, dict) and isinstance(value, dict):
            value = _merge(inner, value)
        merged[key] = value
    return merged


def holds(values: Any, path: Sequence[str | int]) -> bool:
    """Say whether there is a value at a path, be it null."""
    for part in path:
        if isinstance(values, Mapping):
            if part not in values:
                return False
        elif not (isinstance(values, list) and isinstance(part, int) and part < len(values)):
            return False
        values = values[part]
    return True
