"""Problems of a file of parameters in words: place, value, what is allowed, what to do."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel, ValidationError

from t3vae.settings.blocks import COLOUR_PATTERN, NAME_PATTERN
from t3vae.settings.declarations import Place, extra, locate, plain, tag_of, variants
from t3vae.settings.yaml_reader import UNKNOWN, Path_, short

__all__ = ["Path_", "Problem", "dotted", "leaves", "nearest", "shown", "validation_problems"]


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


def leaves(value: Any, path: Path_ = ()) -> Iterator[tuple[Path_, Any]]:
    """Yield path and value of all that is no block."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    else:
        yield path, value


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
        kind, context = item["type"], item.get("ctx") or {}
        value = shown(place.value)
        tail: Path_ = ()
        if kind == "missing":
            value, message = None, _missing(place)
        elif kind == "extra_forbidden":
            known = place.owner.model_fields if place.owner is not None else {}
            message = f"unknown key. {nearest(place.path[-1], known)}"
        elif kind.startswith("union_tag"):
            tail, value, message = _tag(place)
        elif item["loc"][-1:] == ("[key]",) or context.get("pattern") == NAME_PATTERN:
            message = (
                "must be a name: lower-case letters, digits and underscores, a letter first, "
                "at most 64 in all. Rename it."
            )
            value = None if item["loc"][-1] == "[key]" else value
        elif kind == "literal_error":
            names = [str(name) for name in get_args(plain(place.annotation))]
            listed = ", ".join(names) or context.get("expected", "")
            several = len(names) > 1
            message = f"must be {'one of ' * several}{listed}."
            message += _near(place.value, names) if several else ""
        elif place.value is None and kind != "string_pattern_mismatch":
            value, message = "null", f"is empty; {_wanted(item)}.{_remedy(place)}"
        else:
            because = extra(place.info, "because") if kind in _LIMITS else None
            reason = f", because {because}" if because else ""
            more = " or more" if kind == "greater_than" and context["gt"] else ""
            message = f"{_wanted(item)}{reason}.{_remedy(place, more)}"
        yield Problem((*prefix, *place.path, *tail), value, message)


def _missing(place: Place) -> str:
    example = extra(place.info, "example")
    sentence = place.info.description if place.info is not None else None
    hint = f" ({sentence.rstrip('.')})" if sentence else ""
    remedy = f"Add it, for example {place.path[-1]}: {example}." if example else "Add it."
    return f"is missing{hint}. {remedy}"


def _near(name: Any, known: Iterable[str]) -> str:
    found = nearest(name, known)
    return f" {found}" if found.startswith("Did") else ""


def _tag(place: Place) -> tuple[Path_, str | None, str]:
    """Return (rest of the path, value, message) where no kind of block fits."""
    kinds = variants(place.annotation)
    key = tag_of(kinds[-1])
    names = [str(n) for kind in kinds for n in get_args(plain(kind.model_fields[key].annotation))]
    if not isinstance(place.value, dict):
        example = f"{{{key}: {names[0]}, ...}}"
        return (), shown(place.value), f"must be a block of keys. Write it as {example}."
    code = "Class" if key == "family" else "function"
    allowed = f"one of {', '.join(names)}, or an import path package.module:{code}."
    given = place.value.get(key)
    if given is None:
        return (key,), None, f"is missing. Add {key}: {allowed}"
    if given is UNKNOWN:
        return (key,), None, f"must be {allowed}"
    return (key,), shown(given), f"must be {allowed}{_near(given, names)}"


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


def _wanted(item: Any) -> str:
    kind, context = item["type"], item.get("ctx") or {}
    if kind in _LIMITS:
        name, words = _LIMITS[kind]
        return f"{words} {context[name]:.12g}"
    if kind == "too_long":
        return f"must have at most {context['max_length']} entries"
    if kind == "string_pattern_mismatch":
        colour = context["pattern"] == COLOUR_PATTERN
        return (
            "must be a colour written '#rrggbb'" if colour else f"must match {context['pattern']}"
        )
    return _TYPES.get(kind) or str(item["msg"]).rstrip(".")


def _remedy(place: Place, more: str = "") -> str:
    example = extra(place.info, "example")
    return f" Try {example}{more}." if example else ""
