"""Walking the typed declarations: from a path in params.yaml to what is declared there."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from t3vae.settings import catalogue
from t3vae.settings.families import FAMILIES, NETWORKS, ImportedFamily, ImportedNetwork
from t3vae.settings.sources import SOURCES, ImportedSource

__all__ = ["TAGS", "Place", "allowed", "extra", "locate", "plain", "variants"]

TAGS: dict[str, type[BaseModel]] = {
    **catalogue.options(FAMILIES),
    **catalogue.options(NETWORKS),
    **catalogue.options(SOURCES),
    "imported_family": ImportedFamily,
    "imported_kind": ImportedNetwork,
    "imported_source": ImportedSource,
}
"""Classes of the tagged unions, by tag."""


class Place(NamedTuple):
    """What is declared at a place, and what stands there."""

    path: tuple[str | int, ...]
    value: Any
    info: FieldInfo | None
    owner: type[BaseModel] | None
    annotation: Any


def plain(annotation: Any) -> Any:
    """Strip ``Annotated`` and ``| None``."""
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
            continue
        if get_origin(annotation) in (Union, types.UnionType):
            kinds = [kind for kind in get_args(annotation) if kind is not types.NoneType]
            if len(kinds) == 1:
                annotation = kinds[0]
                continue
        return annotation


def variants(annotation: Any) -> list[type[BaseModel]]:
    """Classes of a tagged union of blocks; empty for anything else."""
    annotation = plain(annotation)
    if get_origin(annotation) not in (Union, types.UnionType):
        return []
    kinds = [plain(kind) for kind in get_args(annotation)]
    return [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]


def locate(location: Sequence[str | int], values: Any, root: type[BaseModel]) -> Place:
    """Follow the location of a validation error through declarations and values.

    Tags of unions are dropped from the path, since they are not keys of the file.
    """
    annotation: Any = root
    path: list[str | int] = []
    value, info, owner = values, None, None
    for part in location:
        if part == "[key]":
            continue
        annotation = plain(annotation)
        if variants(annotation):
            annotation = TAGS.get(str(part), annotation)
            continue
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            owner, info = annotation, annotation.model_fields.get(str(part))
            annotation = info.annotation if info is not None else Any
        else:
            arguments = get_args(annotation)
            annotation = arguments[-1] if arguments else Any
        path.append(part)
        value = _at(value, part)
    return Place(tuple(path), value, info, owner, annotation)


def _at(value: Any, part: str | int) -> Any:
    if isinstance(value, Mapping):
        return value.get(part)
    if isinstance(value, list) and isinstance(part, int) and 0 <= part < len(value):
        return value[part]
    return None


def extra(info: FieldInfo | None, key: str) -> str | None:
    """Return the reason (``because``) or the example of a declaration."""
    notes = info.json_schema_extra if info is not None else None
    text = notes.get(key) if isinstance(notes, dict) else None
    return text if isinstance(text, str) else None


def allowed(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """Say in words what a parameter may be: its type and limits."""
    metadata = [*metadata]
    optional = False
    while get_origin(annotation) is Annotated or types.NoneType in get_args(annotation):
        if get_origin(annotation) is Annotated:
            metadata += get_args(annotation)[1:]
            annotation = get_args(annotation)[0]
        else:
            optional = True
            (annotation,) = (k for k in get_args(annotation) if k is not types.NoneType)
    words = ", ".join([_kind(annotation), *_limits(metadata)])
    return f"{words}, or null" if optional else words


def _kind(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{text}`" for text in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(allowed(kind) for kind in arguments)
    if origin is list:
        return f"list of ({allowed(arguments[0])})"
    if origin is dict:
        return f"block of ({allowed(arguments[1])}) by name"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "block"
    return _TYPES.get(annotation, "any value")


_TYPES = {float: "number", int: "whole number", str: "text", bool: "true or false"}
_SIGNS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}


def _limits(metadata: Sequence[Any]) -> Iterator[str]:
    seen: dict[str, str] = {}
    for item in _flat(metadata):
        for name, sign in _SIGNS.items():
            bound = getattr(item, name, None)
            if bound is not None:
                seen.setdefault(name, f"{sign} {bound:.12g}")
        if getattr(item, "min_length", None):
            seen.setdefault("min_length", "not empty")
    yield from (seen[name] for name in (*_SIGNS, "min_length") if name in seen)


def _flat(metadata: Sequence[Any]) -> Iterator[Any]:
    for item in metadata:
        if isinstance(item, FieldInfo):
            yield from _flat(item.metadata)
        else:
            yield item
