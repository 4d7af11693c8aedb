"""Bivariate densities: the true one, then one row a model and one column a latent distribution."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure

from t3vae.figures.axes import panel_title
from t3vae.figures.style import Style
from t3vae.tables.latent_titles import (
    LATENT_LABELS,
    LATENT_SHORT,
    used_latents,
)

__all__ = ["heatmaps"]


def heatmaps(tables: Mapping[str, pd.DataFrame], style: Style) -> Figure:
    """Draw log10 densities with one colour scale, from ``heatmaps.csv``."""
    table = tables["heatmaps.csv"]
    found = [name for name in table.columns if ":" in name]
    latents = used_latents([name.partition(":")[2] for name in found])
    models = [m for m in style.models if any(n.startswith(m + ":") for n in found)]
    wide = len(models) > 8
    across = 2 if wide else 1
    columns = max(2, across * len(latents))
    rows = 1 + -(-len(models) // across)
    if wide:
        drawn, grid = style.panels(rows, columns, 14.0, wide=True, left=11.0, gap_x=3.5, gap_y=9.0)
    else:
        drawn, grid = style.panels(rows, columns, 17.5, left=16.5, gap_x=3.5, gap_y=6.0)
    for axes in grid.flat:
        axes.set_visible(False)
    scale = _scale(table, found)
    mesh = _panel(grid[0, 0], table, "truth", scale, LATENT_LABELS["truth"])
    grid[0, 0].tick_params(labelbottom=False)
    grid[0, 0].set_ylabel("x₂")
    _colour_bar(drawn, grid[0, 1:], mesh)
    for k, model in enumerate(models):
        row, side = divmod(k, across)
        for i, latent in enumerate(latents):
            axes = grid[1 + row, side * len(latents) + i]
            title = LATENT_SHORT.get(latent, latent)
            if wide and i == 0:
                title = f"{style.label(model)}:\n{title}"
            if f"{model}:{latent}" not in found:
                _absent(axes, "no p* of its own" if latent == "alternative" else "no samples")
                continue
            _panel(axes, table, f"{model}:{latent}", scale, title)
            first, lowest = i == side == 0, k + across >= len(models)
            axes.tick_params(labelleft=first, labelbottom=lowest)
            if lowest:
                axes.set_xlabel("x₁")
            if first:
                axes.set_ylabel("x₂" if wide else f"{style.label(model)}\nx₂")
    return drawn


def _scale(table: pd.DataFrame, found: list[str]) -> tuple[float, float]:
    """Return the range of the colours: from one draw in a cell to the mode of the truth."""
    lowest = table[found].min().min()
    return float(lowest), float(table["truth"].max())


def _panel(
    axes: Axes, table: pd.DataFrame, column: str, scale: tuple[float, float], title: str
) -> QuadMesh:
    x = np.append(table["x_left"].unique(), table["x_right"].max())
    y = np.append(table["y_left"].unique(), table["y_right"].max())
    values = table[column].to_numpy().reshape(len(x) - 1, len(y) - 1)
    axes.set_visible(True)
    mesh = axes.pcolormesh(
        x,
        y,
        np.ma.masked_invalid(np.where(values >= scale[0], values, np.nan)).T,
        cmap="viridis",
        vmin=scale[0],
        vmax=scale[1],
        rasterized=True,
        edgecolors="none",
    )
    panel_title(axes, title)
    return mesh


def _absent(axes: Axes, text: str) -> None:
    axes.set_visible(True)
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, color="#7F7F7F", ha="center", va="center", transform=axes.transAxes)


def _colour_bar(drawn: Figure, beside: np.ndarray, mesh: QuadMesh) -> None:
    """Put the colour bar into the space beside the true distribution."""
    first, last = beside[0].get_position(), beside[min(1, len(beside) - 1)].get_position()
    width = last.x1 - first.x0
    place = (
        first.x0 + 0.08 * width,
        first.y0 + 0.45 * first.height,
        0.84 * width,
        0.16 * first.height,
    )
    bar = drawn.colorbar(mesh, cax=drawn.add_axes(place), orientation="horizontal")
    bar.set_label("log₁₀ density (white: no draw)")
    bar.outline.set_linewidth(0.5)
