"""`like` and `grid` written out, and where in the file each value was written.

Both are plain keys, so that every YAML reader reads them; overrides of the command line are
merged before they are expanded. A block with ``like: NAME`` takes block NAME of its section:
nested blocks merge, lists and other values are replaced. In a model, ``grid: {nu: [5, 9]}``
makes a model like this entry of each value; a block with the name of such a model changes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from t3vae.settings.grids import Refused, members, with_members
from t3vae.settings.problems import Path_, Problem, nearest
from t3vae.settings.yaml_reader import UNKNOWN

__all__ = ["SECTIONS", "Expansion", "holds"]

SECTIONS = (
    *("datasets", "networks", "models", "training", "sampling", "extractors", "evaluation"),
    "experiments",
)
"""Sections of named blocks."""


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
        self._places: dict[Path_, list[int]] = {}  # in the file, of entries of a list of models
        entries: dict[str, list[str]] = {}  # with a grid, and their members
        for name in SECTIONS:
            blocks = values.get(name)
            if not isinstance(blocks, dict):
                continue
            for key, block in blocks.items() if name == "experiments" else ():
                if isinstance(block, dict) and isinstance(block.get("models"), list):
                    models, self._places[name, key, "models"] = with_members(
                        block["models"], entries
                    )
                    blocks = {**blocks, key: {**block, "models": models}}
            self._sections[name] = section = _Section(name, blocks, self.problems)
            self.values[name] = section.expanded()
            if name == "models":
                entries = section.members

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
        places = self._places.get(path[:3], ())
        if len(path) > 3 and isinstance(path[3], int) and path[3] < len(places):
            return (*path[:3], places[path[3]])
        return path


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
        except Refused as refused:
            if refused.problem is not None and refused.problem not in self.problems:
                self.problems.append(refused.problem)
            return UNKNOWN

    def _block(self, name: str) -> Any:
        if name in self.members:
            raise Refused  # with its grid
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
            raise Refused
        if not isinstance(like, str):
            raise Refused(path, like, f"must be the name of a block in `{self.name}`.")
        if like in chain:
            names = [*chain][[*chain].index(like) :]
            first = names.index(min(names))
            names = [*names[first:], *names[: first + 1]]
            message = f"a circle, {' -> '.join(names)}. Write the keys of one of them out."
            raise Refused((self.name, names[0], "like"), names[1], message)
        if like not in self.own:
            if like in self.blocks:  # no block; this is a problem of its own
                raise Refused
            known = [each for each in {**self.blocks, **self.own} if each not in chain]
            raise Refused(path, like, f"not in `{self.name}`. {nearest(like, known)}")
        return like

    def _make(self, entry: str) -> None:
        """Make the members of an entry: blocks that are like it and may be written as well."""
        taken = {*self.members, *(name for made in self.members.values() for name in made)}
        for name, values, places in members(entry, self.blocks[entry], taken):
            self.members[entry].append(name)
            if name in self.own or name not in self.blocks:
                layer = Layer(values, (self.name, entry, "grid"), places)
                self.own.setdefault(name, []).append(layer)
                self.like[name] = entry if self.like.get(name) is None else self.like[name]


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
