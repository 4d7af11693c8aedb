"""The texts of a drawn figure: none cut off, no two on top of each other."""

from __future__ import annotations

from itertools import combinations
from typing import Any

from matplotlib.figure import Figure
from matplotlib.text import Text


def texts(drawn: Figure) -> list[tuple[str, Any]]:
    """Return every visible text and its box in pixels."""
    renderer = drawn.canvas.get_renderer()  # type: ignore[attr-defined]
    hidden = {text for axes in drawn.axes if not axes.get_visible() for text in axes.findobj(Text)}
    found = []
    for text in drawn.findobj(Text):
        assert isinstance(text, Text)
        if text in hidden or not text.get_visible() or not text.get_text().strip():
            continue
        if text.axes is not None and not text.axes.axison and text not in text.axes.texts:
            continue
        box = text.get_window_extent(renderer)
        if _is_shown(text, box, drawn):
            found.append((text.get_text(), box))
    return found


def _is_shown(text: Text, box: Any, drawn: Figure) -> bool:
    """Leave out tick labels beyond the ends of their axis, which are not drawn."""
    for axes in drawn.axes:
        for axis in (axes.xaxis, axes.yaxis):
            ticks = axis.get_major_ticks() + axis.get_minor_ticks()
            for tick in ticks:
                if text in (tick.label1, tick.label2):
                    low, high = sorted(axis.get_view_interval())
                    margin = 1e-9 * (abs(low) + abs(high))
                    return bool(low - margin <= tick.get_loc() <= high + margin)
    return True


def check_inside(drawn: Figure, found: list[tuple[str, Any]]) -> None:
    width, height = drawn.canvas.get_width_height()
    for text, box in found:
        inside = box.x0 > -1 and box.y0 > -1 and box.x1 < width + 1 and box.y1 < height + 1
        assert inside, f"{text!r} leaves the page: {box}"


def check_apart(found: list[tuple[str, Any]]) -> None:
    for (a, first), (b, second) in combinations(found, 2):
        wide = min(first.x1, second.x1) - max(first.x0, second.x0)
        tall = min(first.y1, second.y1) - max(first.y0, second.y0)
        assert not (wide > 1.0 and tall > 1.5), f"{a!r} and {b!r} overlap: {wide:.1f} x {tall:.1f}"
