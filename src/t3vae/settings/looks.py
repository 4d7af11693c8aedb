"""How the models of an experiment look in figures: label, colour, marker and line of each.

Hue and marker say the family and stand in its catalogue entry; lightness and line say the member
of it, from dark to light in the order of ``nu``, then of the other parameters. Members of one
family with the same line are five places apart: among 25 of them any two still differ in line or
clearly in lightness. What a family looks like depends on its own members alone; only the hues of
custom families depend on each other's order.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from math import cos, radians, sin
from typing import Any, Literal, get_args

from t3vae.settings.families import FAMILIES

__all__ = ["Line", "Marker", "looks"]

Marker = Literal["o", "s", "D", "P", "X", "^", "v", "<", ">", "d", "*", "p", "h", "8", "H"]
"""Markers, as matplotlib names them."""

Line = Literal["solid", "dashed", "dotted", "dashdot", "dashdotdot"]
"""Lines, in the order of a family's members."""

CUSTOM = ((112.0, "h"), (48.0, "8"), (230.0, "H"), (174.0, "p"))
"""Hue and marker of custom families, in the order of the experiment."""

DARKEST, LIGHTEST, CHROMA = 0.32, 0.78, 0.19
WARMER = 0.07
"""How much lighter than these yellow is, and blue darker: families differ without hue, too."""


def looks(models: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """Return label, colour, marker and line of each model of one experiment.

    Args:
        models: family and parameters of each model, in the order of the experiment.

    Example:
        >>> looks({"a": {"family": "t3vae", "nu": 9.0}, "b": {"family": "vae"}})["a"]
        {'label': 't³VAE, ν = 9', 'colour': '#097bca', 'marker': 'D', 'line': 'solid'}
    """
    families: dict[str, list[str]] = {}
    for name, model in models.items():
        families.setdefault(model["family"], []).append(name)
    custom = [family for family in families if family not in FAMILIES]
    given = {family: CUSTOM[i % len(CUSTOM)] for i, family in enumerate(custom)}
    given |= {family: (entry.hue, entry.marker) for family, entry in FAMILIES.items()}
    lines = get_args(Line)
    found = {}
    for family, members in families.items():
        hue, marker = given[family]
        for rank, name in enumerate(sorted(members, key=lambda name: _order(models[name]))):
            colour = _colour(hue, (rank + 0.5) / len(members))
            found[name] = {"colour": colour, "marker": marker, "line": lines[rank % len(lines)]}
    return {name: {"label": label, **found[name]} for name, label in _labels(models).items()}


def _labels(models: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return a label for each model; where two are called the same, their names stand behind."""
    found = {}
    for name, model in models.items():
        entry = FAMILIES.get(model["family"])
        label = name if entry is None else entry.label
        found[name] = label if isinstance(label, str) else label(model)
    twice = [label for label in found.values() if list(found.values()).count(label) > 1]
    return {n: f"{label} ({n})" if label in twice else label for n, label in found.items()}


def _order(model: Mapping[str, Any]) -> list[tuple[float, str]]:
    """Return what sorts the models of a family: nothing first, then numbers, then words."""
    values = [model.get("nu"), *(value for key, value in model.items() if key != "nu")]
    return [
        (float(value or 0.0), "")
        if isinstance(value, (int, float, type(None)))
        else (float("inf"), str(value))
        for value in values
    ]


@cache
def _colour(hue: float, place: float) -> str:
    """Return ``#rrggbb`` of a hue, from dark (place 0) to light (1) in equal steps of luminance.

    The chroma is the largest up to ``CHROMA`` for which the colour of OKLCH (Ottosson 2020) is
    one of sRGB.
    """
    lightness = (DARKEST**3 + place * (LIGHTEST**3 - DARKEST**3)) ** (1.0 / 3.0)
    lightness += WARMER * cos(radians(hue - 90.0))
    chroma = CHROMA
    while True:
        a, b = chroma * cos(radians(hue)), chroma * sin(radians(hue))
        long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
        middle = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
        short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
        linear = (
            4.0767416621 * long - 3.3077115913 * middle + 0.2309699292 * short,
            -1.2684380046 * long + 2.6097574011 * middle - 0.3413193965 * short,
            -0.0041960863 * long - 0.7034186147 * middle + 1.7076147010 * short,
        )
        if all(0.0 <= value <= 1.0 for value in linear):
            break
        chroma -= 0.005
    encoded = (
        12.92 * value if value <= 0.0031308 else 1.055 * value ** (1.0 / 2.4) - 0.055
        for value in linear
    )
    return "#" + "".join(f"{round(255.0 * value):02x}" for value in encoded)
