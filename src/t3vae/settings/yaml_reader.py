"""Strict reading of one YAML file into plain values, with the line of each.

YAML 1.1 and YAML 1.2 read some scalars differently: `1e-4` is text in one and a number in
the other, `on` is true or text, `010` is eight or ten, `1:30` is ninety or text. Such
scalars are refused with the way to write them, so that every tool reads the same file
alike. Duplicate keys, anchors, tags, second documents, infinities and oversized or
deeply nested files are refused as well. Nothing in a file is ever executed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import yaml

from t3vae.errors import ConfigError

__all__ = ["UNKNOWN", "Document", "Path_", "Trap", "read", "scalar", "short"]

MAX_BYTES = 262_144
MAX_DEPTH = 24
UNKNOWN: Any = type("Unknown", (), {"__repr__": lambda self: "UNKNOWN"})()
"""Stands for a value that was refused; a later check passes over it."""

_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(0|[1-9][0-9]*)\.[0-9]+([eE][-+][0-9]+)?")
_NUMBER_LIKE = re.compile(r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.?(inf|infinity|nan)", re.IGNORECASE)
_TRUE_FALSE_NULL = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("null", "Null", "NULL", "~", ""), None),
}
_TRAPS = {
    r"(?i)yes|no|on|off|y|n": "true or false to one YAML reader and text to another. "
    "Write true, false, or '{}' in quotes.",
    r"[-+]?0([xXoO][0-9a-fA-F_]+|[bB][01_]+)": "must be a decimal number. "
    "Write it with the digits 0 to 9 alone.",
    r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?": "a number to base 60 to one YAML reader and "
    "text to another. Write a decimal number, or '{}' in quotes.",
    r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt ].*)?": "a date to one YAML reader and text to another. "
    "Write '{}' in quotes.",
    r"[-+]?[0-9._][0-9._:eE+-]*": "almost a number. "
    "Write a number such as 0.5, or '{}' in quotes for text.",
    r"<<|=": "has a special meaning in YAML 1.1 only. Write every key out.",
}
"""Other text that is refused, and why."""

Path_ = tuple[str | int, ...]


class Trap(NamedTuple):
    """A scalar that is refused: its meaning where one is clear, and what to write."""

    value: Any
    message: str


@dataclass
class Document:
    """Values of a file, the line of each path, and the problems met on the way."""

    values: Any = None
    lines: dict[Path_, int] = field(default_factory=dict)
    problems: list[tuple[Path_, int, str | None, str]] = field(default_factory=list)


def scalar(text: str) -> Any:
    """Return the value of a plain scalar, or a :class:`Trap`.

    Example:
        >>> scalar("0.1"), scalar("25"), scalar("true"), scalar("vae")
        (0.1, 25, True, 'vae')
        >>> scalar("1e-4").message
        'text to one YAML reader and a number to another. Write 1.0e-4.'
    """
    if text in _TRUE_FALSE_NULL:
        return _TRUE_FALSE_NULL[text]
    if _NOT_FINITE.fullmatch(text):
        return Trap(UNKNOWN, "must be a finite number. Write an ordinary number.")
    if _INTEGER.fullmatch(text):
        return _finite(int(text) if len(text) < 20 else float(text))
    if _FLOAT.fullmatch(text):
        return _finite(float(text))
    if _NUMBER_LIKE.fullmatch(text):
        return _number_trap(text)
    for pattern, message in _TRAPS.items():
        if re.fullmatch(pattern, text):
            return Trap(UNKNOWN, message.format(text))
    return text


def _finite(number: float) -> Any:
    if not math.isfinite(number):
        return Trap(UNKNOWN, "too large for a number. Write a smaller one.")
    return number


def _number_trap(text: str) -> Trap:
    """`1e-4`, `1.e5`, `1.0e4`, `.5`, `5.`, `010`, `1_000`: what to write instead."""
    plain = text.replace("_", "")
    sign = plain[0] if plain[0] in "+-" else ""
    mantissa, _, exponent = plain.lstrip("+-").lower().partition("e")
    whole, _, fraction = mantissa.partition(".")
    octal = len(whole) > 1 and whole[0] == "0"
    whole = whole.lstrip("0") or "0"
    isfloat = "." in mantissa or exponent
    remedy = sign.replace("+", "") + whole
    if isfloat:
        remedy += "." + (fraction or "0")
    if exponent:
        remedy += "e" + (exponent if exponent[0] in "+-" else "+" + exponent)
    if octal and not isfloat:
        why = "a number to base 8 to one YAML reader and to base 10 to another"
        return Trap(UNKNOWN, f"{why}. Write {remedy}, without the leading zero.")
    value = _finite(float(remedy) if isfloat or len(remedy) > 19 else int(remedy))
    if isinstance(value, Trap):
        return value
    return Trap(value, f"text to one YAML reader and a number to another. Write {remedy}.")


def read(path: Path, name: str) -> Document:
    """Read a file.

    Args:
        path: the file.
        name: how messages call it.

    Raises:
        ConfigError: the file as a whole cannot be read (missing, not UTF-8, empty, not YAML).
    """
    text = _text(path, name)
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        document = _Builder(name, yaml.parse(text, Loader=loader)).build()
    except yaml.YAMLError as error:
        raise ConfigError(_syntax(error, text, name)) from None
    if document.values is None and not document.problems:
        message = "the file is empty. Start from the params.yaml of the project."
        raise ConfigError(f"{name}:1: {message}")
    return document


def _text(path: Path, name: str) -> str:
    try:
        with open(path, "rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(
            f"{name}: no such file. Run from the folder that holds params.yaml, or give its path."
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"{name}: cannot be read ({reason}). Check the path and its rights."
        ) from None
    if len(content) > MAX_BYTES:
        raise ConfigError(
            f"{name}: larger than {MAX_BYTES // 1024} KiB, so it is no file of parameters. "
            "Check the path."
        )
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{name}:{line}: not UTF-8 (byte 0x{content[error.start]:02x}). "
            "Save the file as UTF-8 text."
        ) from None
    text = text.removeprefix("\ufeff")
    control = re.search("[\x00-\x08\x0b-\x1f\x7f]", text.replace("\r\n", " \n"))
    if control is not None:
        line = text.count("\n", 0, control.start()) + 1
        raise ConfigError(
            f"{name}:{line}: control character U+{ord(control[0]):04X}. Delete it, and check that "
            "this is a text file."
        )
    return text


def _syntax(error: yaml.YAMLError, text: str, name: str) -> str:
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        detail = " ".join(str(error).split())
        return f"{name}: not YAML ({detail}). Check the characters of the file."
    lines = text.split("\n")
    number = min(mark.line, len(lines) - 1)
    for near in range(max(0, number - 1), number + 1):
        if re.match(r" *\t", lines[near]) and lines[near].strip():
            return f"{name}:{near + 1}: a tab in the indentation. Indent with spaces."
    parts = (getattr(error, "context", None), getattr(error, "problem", None) or "not YAML")
    return (
        f"{name}:{number + 1}: not YAML ({', '.join(filter(None, parts))}). Check indentation, "
        "colons, brackets and quotes of this line and the one before."
    )


class _Builder:
    """Builds plain values from parser events."""

    def __init__(self, name: str, events: Iterator[Any]) -> None:
        self.name = name
        self.events = events
        self.document = Document()

    def build(self) -> Document:
        documents = 0
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self._refuse(event, "a second document. Remove the `---` before it.")
            elif isinstance(event, yaml.NodeEvent):
                self.document.values = self._node(event, ())
        return self.document

    def _refuse(self, event: Any, message: str) -> NoReturn:
        raise ConfigError(f"{self.name}:{event.start_mark.line + 1}: {message}")

    def _check(self, event: Any) -> None:
        alias = isinstance(event, yaml.AliasEvent)
        if event.anchor is not None:
            text = short(f"{'*' if alias else '&'}{event.anchor}")
            message = "anchors and aliases are not allowed. Write the values out; text that begins"
            self._refuse(event, f"{text}: {message} with & or * goes in quotes.")
        if event.tag is not None:
            self._refuse(event, f"tag {short(event.tag)}: tags are not allowed. Remove it.")

    def _node(self, event: Any, path: Path_) -> Any:
        self._check(event)
        line = event.start_mark.line + 1
        self.document.lines.setdefault(path, line)
        if isinstance(event, yaml.ScalarEvent):
            if event.style or not event.implicit[0]:
                return event.value
            value = scalar(event.value)
            if isinstance(value, Trap):
                self.document.problems.append((path, line, short(event.value), value.message))
                return value.value
            return value
        if len(path) >= MAX_DEPTH:
            message = f"nested more than {MAX_DEPTH} deep. Check brackets and indentation."
            self._refuse(event, message)
        if isinstance(event, yaml.SequenceStartEvent):
            items: list[Any] = []
            while not isinstance(inner := next(self.events), yaml.SequenceEndEvent):
                items.append(self._node(inner, (*path, len(items))))
            return items
        block: dict[str, Any] = {}
        while not isinstance(inner := next(self.events), yaml.MappingEndEvent):
            key = self._key(inner, path, block)
            block.setdefault(key, self._node(next(self.events), (*path, key)))
        return block

    def _key(self, event: Any, path: Path_, block: Container[str]) -> str:
        self._check(event)
        line = event.start_mark.line + 1
        if not isinstance(event, yaml.ScalarEvent):
            self._refuse(event, "a key must be a name. Check the brackets.")
        key: str = event.value
        if not isinstance(key if event.style else scalar(key), str):
            message = (
                "a key must be text to every YAML reader, not a number, a date, null, on or yes. "
                "Rename it or put it in quotes."
            )
            self.document.problems.append((path, line, short(key or "(nothing)"), message))
        if key in block:
            first = self.document.lines[(*path, key)]
            message = f"written twice; the first is on line {first}. Delete one of the two."
            self.document.problems.append(((*path, key), line, None, message))
        self.document.lines.setdefault((*path, key), line)
        return key


def short(text: str, most: int = 60) -> str:
    """Return a text for a message, cut where it is long."""
    return text if len(text) <= most else text[: most - 3] + "..."
