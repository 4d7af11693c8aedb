"""Building blocks of the typed declarations: numbers, names and the field helper."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

__all__ = [
    "COLOUR_PATTERN",
    "NAME_PATTERN",
    "Block",
    "Colour",
    "Count",
    "Name",
    "Real",
    "Seed",
    "Whole",
    "field",
]

NAME_PATTERN = r"^[a-z][a-z0-9_]{0,63}$"
"""Names become parts of paths and of wildcards, hence the small alphabet."""

COLOUR_PATTERN = r"^#[0-9a-fA-F]{6}$"
"""Colours, as in HTML."""


class Block(BaseModel):
    """A block of parameters: unknown keys, infinities and later changes are refused."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=False
    )


def _whole(value: Any) -> Any:
    """25.0 and 25 are the same number and must give the same digest."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


Real = Annotated[float, Field(strict=True), AfterValidator(lambda value: value + 0.0)]
"""A finite number; 25 becomes 25.0, -0.0 becomes 0.0. Text and true/false are refused."""

Whole = Annotated[int, BeforeValidator(_whole), Field(strict=True)]
"""A whole number; 25.0 becomes 25."""

Count = Annotated[Whole, Field(ge=1)]
"""A whole number of at least one."""

Seed = Annotated[Whole, Field(ge=0, lt=2**32)]
"""A seed."""

Colour = Annotated[str, Field(pattern=COLOUR_PATTERN)]
"""A colour `#rrggbb`."""

Name = Annotated[str, Field(pattern=NAME_PATTERN)]
"""A name of the user: lower-case letters, digits, underscores, a letter first."""


def field(
    description: str,
    default: Any = ...,
    *,
    because: str | None = None,
    example: str | None = None,
    filled: str | None = None,
    **limits: Any,
) -> Any:
    """Declare one parameter.

    Args:
        description: one sentence for the reference page.
        default: value when the key is absent; without one the key is required.
        because: reason of the limits, for the error message.
        example: a value that is allowed, for the error message.
        filled: what an experiment gets where the key is absent, for the reference page.
        **limits: ``gt``, ``ge``, ``lt``, ``le``, ``min_length``, ...
    """
    notes = {"because": because, "example": example, "filled": filled}
    extra: dict[str, Any] = {key: text for key, text in notes.items() if text}
    return Field(default, description=description, json_schema_extra=extra or None, **limits)
