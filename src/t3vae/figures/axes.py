"""Axes that can be read: tick labels that do not touch, titles that fit, marks of estimates."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter

__all__ = [
    "FEW",
    "few_handle",
    "log_axis",
    "panel_title",
    "point",
    "short_number",
    "shown",
    "thin_ticks",
    "wrapped",
]

FEW = "few images"  # of a value from fewer images than twice the number of features


def shown(grid: np.ndarray, count: int) -> Iterator[tuple[Axes, bool, bool]]:
    """Yield the first panels of a grid: axes, leftmost of a row, lowest of a column; hide others.

    Args:
        grid: axes [rows, columns].
        count: number of panels shown.
    """
    columns = grid.shape[1]
    for i, axes in enumerate(grid.flat):
        axes.set_visible(i < count)
        if i < count:
            yield axes, i % columns == 0, i + columns >= count


def panel_title(axes: Axes, text: str) -> None:
    """Write the name of a panel above it, flush left."""
    axes.set_title(text, loc="left", linespacing=1.05)


def wrapped(text: str, width: float) -> str:
    """Return a text in lines that fit into some millimetres, at the default size of text.

    Numbers stay with their symbols.

    Example:
        >>> wrapped("t³HVAE, joint, ν = 10", 25.0)
        't³HVAE, joint,\\nν = 10'
    """
    kept = text.replace(" = ", "\u00a0=\u00a0")
    characters = max(6, int(width / 1.5))
    lines = textwrap.wrap(kept, characters, break_on_hyphens=False, break_long_words=False)
    return "\n".join(lines).replace("\u00a0", " ")


def point(
    axes: Axes,
    place: tuple[float, float],
    ends: tuple[float, float],
    *,
    colour: str,
    marker: str,
    few: bool = False,
) -> None:
    """Draw an estimate: a marker with its interval along x, hollow where images are few.

    Args:
        axes: the panel.
        place: value and line.
        ends: of the interval; none is drawn where one is missing.
        colour, marker: of the marker.
        few: whether the value carries a warning.
    """
    value, y = place
    if not np.isnan(ends).any():
        axes.plot(ends, [y, y], color=colour, linewidth=0.9, solid_capstyle="butt")
    axes.plot(value, y, color=colour, **_marker(marker, few))


def few_handle() -> tuple[Artist, str]:
    """Return the legend entry of a hollow marker."""
    return Line2D([], [], color="#555555", **_marker("o", few=True)), FEW


def _marker(marker: str, few: bool) -> dict[str, Any]:
    edge = {"markerfacecolor": "white", "markeredgewidth": 0.7} if few else {"markeredgewidth": 0.0}
    return {"marker": marker, "markersize": 2.6, "linestyle": "none", **edge}


def short_number(value: float, _: object = None) -> str:
    """Return a tick label without padding.

    Example:
        >>> short_number(0.002), short_number(-2.0e-5)
        ('0.002', '−2e−5')
    """
    mantissa, found, exponent = f"{value:.4g}".partition("e")
    text = f"{mantissa}e{int(exponent)}" if found else mantissa
    return text.replace("-", "−")


def thin_ticks(axes: Axes, which: str = "x") -> None:
    """Take away the labels of an axis that would touch; their ticks stay, as minor ones.

    The outermost labels are kept first, then zero, then the others from low to high.

    Args:
        axes: the panel, with its final size and limits.
        which: ``x`` or ``y``.
    """
    axis = axes.xaxis if which == "x" else axes.yaxis
    renderer = axes.get_figure(root=True).canvas.get_renderer()  # type: ignore[union-attr]
    low, high = sorted(axis.get_view_interval())
    margin = 1e-9 * (high - low)
    labels = axis.get_majorticklabels()  # also puts them into their places
    shown = []
    for value, label in zip(axis.get_majorticklocs(), labels, strict=False):
        if low - margin <= value <= high + margin:
            box = label.get_window_extent(renderer)
            ends = (box.x0, box.x1) if which == "x" else (box.y0, box.y1)
            shown.append((float(value), ends, box.height))
    outermost = {value for value, *_ in (shown[:1] + shown[-1:])}
    shown.sort(key=lambda item: (item[0] not in outermost, item[0] != 0))
    kept: list[tuple[float, tuple[float, float], float]] = []
    for value, ends, size in shown:
        gap = 0.45 * size if which == "x" else 0.0
        if all(ends[0] > e[1] + gap or ends[1] + gap < e[0] for _, e, _ in kept):
            kept.append((value, ends, size))
    if len(kept) == len(shown):
        return
    minor = [*axis.get_minorticklocs(), *(v for v, *_ in shown)]
    axis.set_major_locator(FixedLocator(sorted(value for value, *_ in kept)))
    axis.set_minor_locator(FixedLocator(sorted(minor)))
    axis.set_minor_formatter(NullFormatter())


def log_axis(axes: Axes, which: str, *, dense: bool = False) -> None:
    """Make an axis logarithmic with few, readable labels.

    Args:
        axes: the panel.
        which: ``x`` or ``y``.
        dense: also label 2 and 5 times a power (for an axis of one or two decades).
    """
    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    low, high = sorted(axes.get_xlim() if which == "x" else axes.get_ylim())
    decades = np.log10(high / low)
    if dense or decades < 1.7:
        axis.set_major_locator(
            LogLocator(subs=(1.0, 2.0, 5.0) if decades > 0.6 else (1, 2, 3, 5, 7))
        )
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.6g}"))
    else:
        axis.set_major_locator(LogLocator(numticks=6 if decades > 4.5 else 9))
    axis.set_minor_locator(LogLocator(subs=(2, 3, 4, 5, 6, 7, 8, 9), numticks=100))
    axis.set_minor_formatter(NullFormatter())
