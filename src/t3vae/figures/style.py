"""One look for all figures: sizes in millimetres, Okabe-Ito colours, fixed metadata.

Colours keep their meaning: in a figure with one panel or line a model, the colour says the latent
distribution; in a figure with several models in a panel, each has the look that
:mod:`t3vae.settings.looks` gives it. Truth and data are black or grey everywhere.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.style import context as style_context

from t3vae.provenance.figure_metadata import PNG_KEY
from t3vae.runtime.files import write_bytes
from t3vae.tables.latent_titles import LATENT_LABELS, LATENT_SHORT

__all__ = [
    "LATENT_COLOURS",
    "OKABE_ITO",
    "PAGE_HEIGHT_MM",
    "Style",
    "area_handle",
    "distribution_point_handle",
    "latent_colour",
    "latent_handle",
    "model_handle",
    "save",
]

#: Of a figure that leaves room for its caption on A4.
PAGE_HEIGHT_MM = 240.0

OKABE_ITO = {
    "black": "#000000",
    "orange": "#E69F00",
    "sky": "#56B4E9",
    "green": "#009E73",
    "yellow": "#F0E442",
    "blue": "#0072B2",
    "vermillion": "#D55E00",
    "purple": "#CC79A7",
}

LATENT_COLOURS = {
    "prior": OKABE_ITO["vermillion"],
    "alternative": OKABE_ITO["sky"],
    "fitted": OKABE_ITO["green"],
    "reconstruction": OKABE_ITO["purple"],
    "truth": OKABE_ITO["black"],
    "aggregate": "#8C8C8C",
}
LATENT_MARKERS = {"prior": "o", "alternative": "s", "fitted": "D", "reconstruction": "v"}
LATENT_DASHES: dict[str, Any] = {"prior": "-", "alternative": (0, (3, 1)), "fitted": "-"}

LINES: dict[str, Any] = {
    "solid": "-",
    "dashed": (0, (3.6, 1.2)),
    "dotted": (0, (1, 0.9)),
    "dashdot": (0, (4, 1, 1, 1)),
    "dashdotdot": (0, (4, 1, 1, 1, 1, 1)),
}


@dataclass(frozen=True)
class Style:
    """Sizes and colours of one experiment's figures.

    Attributes:
        models: names of the models, in the order of the parameters.
        looks: label, colour, marker and line of each model.
        column_width_mm, page_width_mm: one column, and the full width for many models.
        font_size: of all text, in points.
        line_width: of curves, in points.
        dpi: resolution of the PNG.
    """

    models: tuple[str, ...] = ()
    looks: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    column_width_mm: float = 85.0
    page_width_mm: float = 180.0
    font_size: float = 7.5
    line_width: float = 1.2
    dpi: int = 200

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Style:
        """Return the style that the resolved configuration of a figure asks for."""
        known = ("column_width_mm", "page_width_mm", "font_size", "line_width", "dpi")
        chosen = {k: v for k, v in (config.get("style") or {}).items() if k in known}
        models = tuple(config.get("models") or ())
        return cls(models=models, looks=dict(config.get("looks") or {}), **chosen)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Set matplotlib's defaults, and only these, within a block."""
        texts = ("axes.titlesize", "axes.labelsize", "font.size", "legend.fontsize")
        ticks = {"major.width": 0.5, "minor.width": 0.35, "major.size": 2.2, "minor.size": 1.2}
        ticks |= {"major.pad": 1.8, "labelsize": self.font_size}
        settings: Any = {
            "font.family": "DejaVu Sans",
            **dict.fromkeys(texts, self.font_size),
            "axes.linewidth": 0.5,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.labelpad": 2.0,
            "axes.titlepad": 2.5,
            **{f"{axis}tick.{key}": value for axis in "xy" for key, value in ticks.items()},
            "lines.linewidth": self.line_width,
            "lines.solid_capstyle": "butt",
            "legend.frameon": False,
            "legend.handlelength": 2.4,
            "legend.handletextpad": 0.5,
            "legend.columnspacing": 1.2,
            "legend.borderpad": 0.1,
            "legend.labelspacing": 0.3,
            "pdf.fonttype": 42,
            "savefig.dpi": self.dpi,
        }
        with style_context(settings, after_reset=True):
            yield

    def label(self, model: str) -> str:
        """Return how a model is called."""
        return self.looks[model]["label"]

    def curve(self, model: str) -> dict[str, Any]:
        """Return colour, line and markers of a model's curve, as matplotlib names them."""
        look = self.looks[model]
        return {
            "gid": model,
            "color": look["colour"],
            "linestyle": LINES[look["line"]],
            "marker": look["marker"],
            "markersize": 3.2,
            "markeredgewidth": 0.0,
            "markevery": (0.02 * (self.models.index(model) % 8), 0.16),  # of the panel's diagonal
        }

    def panels(
        self,
        rows: int,
        columns: int,
        height: float,
        *,
        wide: bool = False,
        legend: Sequence[tuple[Artist, str]] = (),
        left: float = 11.0,
        right: float = 2.0,
        bottom: float = 8.5,
        gap_x: float = 4.0,
        gap_y: float = 7.0,
        head: float = 0.0,
    ) -> tuple[Figure, np.ndarray]:
        """Return a figure and its axes [rows, columns], laid out in millimetres.

        Margins and gaps grow with the size of the text; they are for 7.5 points.

        Args:
            rows, columns: number of panels.
            height: height of one panel without its labels.
            wide: full width instead of one column.
            legend: handles and texts of a legend above the panels.
            left, right, bottom: margins.
            gap_x, gap_y: between panels; a title needs 4 of ``gap_y``.
            head: more room above the first panels, for titles of several lines.
        """
        unit = self.font_size / 7.5
        width = self.page_width_mm if wide else self.column_width_mm
        lines, across = self._legend_shape(legend, width)
        top = self._top(lines, head)
        left, right, bottom, gap_x, gap_y = (
            unit * value for value in (left, right, bottom, gap_x, gap_y)
        )
        total = top + rows * height + (rows - 1) * gap_y + bottom
        drawn = Figure(figsize=(width / 25.4, total / 25.4))
        FigureCanvasAgg(drawn)
        across_panel = (width - left - right - (columns - 1) * gap_x) / columns
        grid = np.empty((rows, columns), dtype=object)
        for i in range(rows):
            for j in range(columns):
                x = left + j * (across_panel + gap_x)
                y = total - top - height - i * (height + gap_y)
                grid[i, j] = drawn.add_axes(
                    (x / width, y / total, across_panel / width, height / total)
                )
        if lines:
            drawn.legend(
                [handle for handle, _ in legend],
                [text for _, text in legend],
                loc="upper center",
                bbox_to_anchor=(0.5, 1.0 - 0.8 * unit / total),
                borderaxespad=0.0,
                ncols=across,
            )
        return drawn, grid

    def room(
        self,
        rows: int,
        *,
        wide: bool = False,
        legend: Sequence[tuple[Artist, str]] = (),
        bottom: float = 8.5,
        gap_y: float = 7.0,
        head: float = 0.0,
    ) -> float:
        """Return the largest height of one panel with which some rows fit on a page, in mm.

        Args:
            rows: number of rows of panels.
            wide, legend, bottom, gap_y, head: as in :meth:`panels`.
        """
        width = self.page_width_mm if wide else self.column_width_mm
        around = self._top(self._legend_shape(legend, width)[0], head)
        around += self.font_size / 7.5 * ((rows - 1) * gap_y + bottom)
        return (PAGE_HEIGHT_MM - around) / rows

    def _top(self, lines: int, head: float) -> float:
        """Return the millimetres above the first panels, with some lines of a legend."""
        return self.font_size / 7.5 * (4.5 + head + (3.6 * lines + 1.5 if lines else 0.0))

    def _legend_shape(self, legend: Sequence[tuple[Artist, str]], width: float) -> tuple[int, int]:
        """Return lines and columns of a legend, from a cautious guess of its widest text."""
        if not legend:
            return 0, 0
        unit = self.font_size / 7.5
        entry = unit * (10.1 + 1.45 * max(len(text) for _, text in legend))
        across = max(1, min(len(legend), int((width - 2.0) / entry)))
        lines = -(-len(legend) // across)
        return lines, -(-len(legend) // lines)

    def grid(self, count: int) -> tuple[int, int, bool]:
        """Return rows, columns and width for small multiples, one panel a model."""
        wide = count > 10
        columns = 5 if wide else min(2, count)
        return -(-count // columns), columns, wide


def latent_colour(latent: str) -> str:
    """Return the colour of a latent distribution."""
    return LATENT_COLOURS.get(latent, OKABE_ITO["black"])


def latent_handle(latent: str) -> tuple[Artist, str]:
    """Return the legend entry of a latent distribution drawn as a line."""
    dashes = LATENT_DASHES.get(latent, "-")
    line = Line2D([], [], color=latent_colour(latent), linestyle=dashes)
    return line, LATENT_LABELS.get(latent, latent)


def distribution_point_handle(latent: str) -> tuple[Artist, str]:
    """Return the legend entry of a latent distribution drawn as points with intervals."""
    marker = LATENT_MARKERS.get(latent, "^")
    line = Line2D([], [], color=latent_colour(latent), marker=marker, markersize=3, linewidth=0.9)
    return line, LATENT_SHORT.get(latent, latent)


def area_handle(colour: str, text: str) -> tuple[Artist, str]:
    """Return the legend entry of a filled area."""
    return Patch(facecolor=colour, linewidth=0), text


def model_handle(model: str, style: Style) -> tuple[Artist, str]:
    """Return the legend entry of a model drawn as a line."""
    return Line2D([], [], **style.curve(model)), style.label(model)


def save(
    drawn: Figure, paths: Mapping[str, Path], provenance: Mapping[str, Any], style: Style
) -> None:
    """Write a figure as PDF and PNG, without dates, with what made it in the metadata.

    Args:
        drawn: the figure.
        paths: path for each ending, ``pdf`` and ``png``.
        provenance: JSON-able; see :func:`t3vae.provenance.figure_metadata.read_provenance`.
        style: for the resolution.
    """
    text = json.dumps(provenance, sort_keys=True, separators=(",", ":"))
    metadata: dict[str, dict[str, Any]] = {
        "pdf": {"Creator": None, "Producer": None, "CreationDate": None, "Keywords": text},
        "png": {"Software": None, PNG_KEY: text},
    }
    for ending, path in paths.items():
        drawing = io.BytesIO()  # matplotlib hides what goes wrong with a file
        drawn.savefig(drawing, format=ending, metadata=metadata[ending], dpi=style.dpi)
        write_bytes(path, drawing.getvalue())
