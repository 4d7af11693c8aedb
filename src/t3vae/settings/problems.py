"""Problems of a file of parameters in words: place, value, what is allowed, what to do."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel, ValidationError

from t3vae.settings.blocks import COLOUR_PATTERN, NAME_PATTERN
from t3vae.settings.declarations import Place, extra, locate, plain, variants
from t3vae.settings.yaml_reader import UNKNOWN, Path_, short

__all__ = ["Path_", "Problem", "dotted", "nearest", "shown", "validation_problems"]


class Problem(NamedTuple):
    """One problem: where, the value as text (None: no value to show), and a message.

    ``line`` is known only for problems of the text itself; else it follows from the path.
    """

    path: Path_
    value: str | None
    message: str
    line: int | None = None


def dotted(path: Path_) -> str:
    """Write a path the way one reads it.

    Example:
        >>> dotted(("experiments", "univariate", "seeds", 1))
        'experiments.univariate.seeds[1]'
    """
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return short(text, 160)


def shown(value: Any) -> str | None:
    """Write a value for a message; blocks are not shown."""
    if isinstance(value, dict):
        return None if value else "{}"
    if isinstance(value, str):
        text = value if value.strip() == value and value.isprintable() and value else repr(value)
    else:
        text = json.dumps(value, default=str)
    return short(text)


def nearest(name: Any, known: Iterable[str]) -> str:
    """Suggest the nearest known name, or list the names when none is near."""
    names = list(known)
    near = difflib.get_close_matches(str(name).lower(), names, n=1, cutoff=0.6)
    if near:
        return f"Did you mean {near[0]}?"
    if not names:
        return "Nothing is known here; remove it."
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return f"Known: {', '.join(names[:12])}{more}."


def validation_problems(
    error: ValidationError, values: Any, root: type[BaseModel], prefix: Path_ = ()
) -> Iterator[Problem]:
    """Turn the errors of a validation into problems.

    Args:
        error: what the validation raised.
        values: the values that were validated.
        root: the class that validated them.
        prefix: path of ``values`` within the file.
    """
    for item in error.errors(include_url=False, include_input=False):
        place = locate(item["loc"], values, root)
        if place.value is UNKNOWN:
            continue
        tail, value, message = _explain(item["type"], item.get("ctx") or {}, item, place)
        yield Problem((*prefix, *place.path, *tail), value, message)


def _explain(kind: str, context: dict[str, Any], item: Any, place: Place) -> Any:
    """Return (rest of the path, value, message) of one error."""
    value = shown(place.value)
    if kind == "missing":
        example = extra(place.info, "example")
        sentence = place.info.description if place.info is not None else None
        hint = f" ({sentence.rstrip('.')})" if sentence else ""
        remedy = f"Add it, for example {place.path[-1]}: {example}." if example else "Add it."
        return (), None, f"is missing{hint}. {remedy}"
    if kind == "extra_forbidden":
        known = place.owner.model_fields if place.owner is not None else {}
        return (), value, f"unknown key. {nearest(place.path[-1], known)}"
    if kind.startswith("union_tag"):
        return _tag(place)
    if (item["loc"] and item["loc"][-1] == "[key]") or kind == "string_pattern_mismatch":
        return _pattern(context, item, place)
    if kind == "literal_error":
        names = [str(name) for name in get_args(plain(place.annotation))]
        near = "" if len(names) == 1 else f" {nearest(place.value, names)}"
        listed = ", ".join(names) or context.get("expected", "")
        return (
            (),
            value,
            f"must be {'one of ' if len(names) > 1 else ''}{listed}."
            + (near if near.startswith(" Did") else ""),
        )
    if place.value is None:
        return (
            (),
            "null",
            f"is empty; {_wanted(kind, context, item)}.{_remedy(place)}",
        )
    return (
        (),
        value,
        f"{_wanted(kind, context, item)}{_reason(kind, place)}.{_remedy(place, kind, context)}",
    )


def _tag(place: Place) -> Any:
    classes = variants(place.annotation)
    key = next(
        name
        for name in ("family", "kind", "source")
        if any(name in kind.model_fields for kind in classes)
    )
    names = [
        str(name) for kind in classes for name in get_args(plain(kind.model_fields[key].annotation))
    ]
    more = {
        "family": ", or an import path package.module:Class",
        "kind": ", or an import path package.module:function",
        "source": ", or an import path package.module:function",
    }.get(key, "")
    if not isinstance(place.value, dict):
        example = f"{{{key}: {names[0]}, ...}}"
        return (
            (),
            shown(place.value),
            f"must be a block of keys. Write it as {example}.",
        )
    given = place.value.get(key)
    if given is UNKNOWN:
        return (key,), None, f"must be one of {', '.join(names)}{more}."
    if given is None:
        return (key,), None, f"is missing. Add {key}: one of {', '.join(names)}{more}."
    suggestion = nearest(given, names)
    suggestion = f" {suggestion}" if suggestion.startswith("Did") else ""
    return (key,), shown(given), f"must be one of {', '.join(names)}{more}.{suggestion}"


def _pattern(context: dict[str, Any], item: Any, place: Place) -> Any:
    pattern = context.get("pattern")
    if item["loc"][-1] == "[key]" or pattern == NAME_PATTERN:
        message = (
            "must be a name: lower-case letters, digits and underscores, a letter first, "
            "at most 64 in all. Rename it."
        )
        value = None if item["loc"][-1] == "[key]" else shown(place.value)
        return (), value, message
    if pattern == COLOUR_PATTERN:
        return (
            (),
            shown(place.value),
            f"must be a colour written '#rrggbb'.{_remedy(place)}",
        )
    return (), shown(place.value), f"must match {pattern}.{_remedy(place)}"


_TYPES = {
    "float_type": "must be a number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "string_type": "must be text",
    "bool_type": "must be true or false",
    "list_type": "must be a list, such as [a, b]",
    "dict_type": "must be a block of keys",
    "model_type": "must be a block of keys",
    "model_attributes_type": "must be a block of keys",
    "finite_number": "must be a finite number",
    "too_short": "must not be empty",
    "positive_or_matched": "must be a number above 0, or `matched`",
    "invalid_key": "must have names as keys",
}
_LIMITS = {
    "greater_than": ("gt", "must be greater than"),
    "greater_than_equal": ("ge", "must be at least"),
    "less_than": ("lt", "must be less than"),
    "less_than_equal": ("le", "must be at most"),
}


def _wanted(kind: str, context: dict[str, Any], item: Any = None) -> str:
    if kind in _LIMITS:
        name, words = _LIMITS[kind]
        return f"{words} {context[name]:.12g}"
    if kind == "too_long":
        return f"must have at most {context['max_length']} entries"
    if kind in _TYPES:
        return _TYPES[kind]
    return str(item["msg"]).rstrip(".") if item else "a value is needed"


def _reason(kind: str, place: Place) -> str:
    because = extra(place.info, "because")
    return f", because {because}" if because and kind in _LIMITS else ""


def _remedy(place: Place, kind: str = "", context: dict[str, Any] | None = None) -> str:
    example = extra(place.info, "example")
    more = " or more" if kind == "greater_than" and (context or {}).get("gt") else ""
    return f" Try {example}{more}." if example else ""
