"""Walking the typed declarations: from a path in params.yaml to what is declared there."""

from __future__ import annotations

import types
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel, Tag
from pydantic.fields import FieldInfo

__all__ = ["Place", "allowed", "extra", "locate", "plain", "tag_of", "variants"]

_UNIONS = (Union, types.UnionType)


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
        if get_origin(annotation) in _UNIONS:
            kinds = [kind for kind in get_args(annotation) if kind is not types.NoneType]
            if len(kinds) == 1:
                annotation = kinds[0]
                continue
        return annotation


def variants(annotation: Any) -> list[type[BaseModel]]:
    """Classes of a tagged union of blocks; empty for anything else."""
    return list(_tagged(annotation).values())


def _tagged(annotation: Any) -> dict[str, type[BaseModel]]:
    """Return the classes of a union of blocks by their tags, or by their names."""
    annotation = plain(annotation)
    found: dict[str, type[BaseModel]] = {}
    for kind in get_args(annotation) if get_origin(annotation) in _UNIONS else ():
        block, (tag, *_) = plain(kind), getattr(kind, "__metadata__", (None,))
        if isinstance(block, type) and issubclass(block, BaseModel):
            found[tag.tag if isinstance(tag, Tag) else block.__name__] = block
    return found


def tag_of(kind: type[BaseModel]) -> str:
    """Return the key that says of which kind of a tagged union a block is."""
    return next(name for name in ("family", "kind", "source") if name in kind.model_fields)


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
        if kinds := _tagged(annotation):
            annotation = kinds.get(str(part), annotation)
            continue
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            owner, info = annotation, annotation.model_fields.get(str(part))
            annotation = info.annotation if info is not None else Any
        else:
            arguments = get_args(annotation)
            annotation = arguments[-1] if arguments else Any
        path.append(part)
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            value = None
    return Place(tuple(path), value, info, owner, annotation)


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
    if origin in _UNIONS:
        return " or ".join(allowed(kind) for kind in arguments)
    if origin is list:
        return f"list of ({allowed(arguments[0])})"
    if origin is dict:
        return f"block of ({allowed(arguments[1])}) by name"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "block"
    return _TYPES.get(annotation, "any value")


_TYPES = {float: "number", int: "whole number", str: "text", bool: "true or false"}
_LIMITS = {"gt": "> {:.12g}", "ge": ">= {:.12g}", "lt": "< {:.12g}", "le": "<= {:.12g}"}
_LIMITS["min_length"] = "not empty"


def _limits(metadata: Sequence[Any]) -> Iterator[str]:
    seen: dict[str, str] = {}
    for item in metadata:
        for part in item.metadata if isinstance(item, FieldInfo) else [item]:
            for name in _LIMITS:
                bound = getattr(part, name, None)
                if bound is not None:
                    seen.setdefault(name, _LIMITS[name].format(bound))
    yield from (seen[name] for name in _LIMITS if name in seen)
