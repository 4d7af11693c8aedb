"""Training curves: reconstruction, regularizer and total of training and validation data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from t3vae.figures.labels import model_label
from t3vae.figures.style import Style, panel_title

__all__ = ["history"]

_DOTS: Any = (0, (1, 1))
_PARTS = ("reconstruction", "regularizer", "total")


def history(tables: Mapping[str, pd.DataFrame], style: Style) -> Figure:
    """Draw the three parts of the loss against the epoch.

    Args:
        tables: ``history.csv``.
        style: sizes, colours and models.
    """
    table = tables["history.csv"]
    table = table[table["seeds"] == table.groupby("model")["seeds"].transform("max")]
    legend = [
        (Line2D([], [], color=style.colour(model)), model_label(model)) for model in style.models
    ]
    legend.append((Line2D([], [], color="black"), "validation"))
    legend.append((Line2D([], [], color="black", linestyle=_DOTS), "training"))
    drawn, grid = style.panels(3, 1, 27.0, wide=len(style.models) > 10, legend=legend, gap_y=6.5)
    for axes, part in zip(grid[:, 0], _PARTS, strict=True):
        for model in style.models:
            _curves(axes, table[table["model"] == model], part, model, style)
        axes.set_ylim(*_limits(table, part))
        axes.set_xlim(table["epoch"].min(), max(table["epoch"].max(), table["epoch"].min() + 1))
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        panel_title(axes, part)
        axes.set_ylabel("loss (2 × nats)")
        axes.tick_params(labelbottom=part == "total")
    grid[-1, 0].set_xlabel("epoch")
    drawn.align_ylabels(grid[:, 0])
    return drawn


def _curves(axes: Axes, table: pd.DataFrame, part: str, model: str, style: Style) -> None:
    colour = style.colour(model)
    name = f"validation_{part}"
    axes.fill_between(
        table["epoch"],
        table[f"{name}_minimum"],
        table[f"{name}_maximum"],
        color=colour,
        alpha=0.2,
        linewidth=0,
    )
    axes.plot(table["epoch"], table[f"{name}_mean"], color=colour, linestyle="-")
    axes.plot(
        table["epoch"],
        table[f"train_{part}_mean"],
        color=colour,
        linestyle=_DOTS,
        linewidth=0.7,
    )


def _limits(table: pd.DataFrame, part: str) -> tuple[float, float]:
    """Return limits that hold the settled values and the descent, not the first outliers."""
    first = table["epoch"].min()
    later = table[table["epoch"] > first + 0.03 * (table["epoch"].max() - first)]
    later = later if len(later) else table
    names = [f"{split}_{part}_mean" for split in ("train", "validation")]
    values = later[names].to_numpy()
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    margin = 0.06 * (high - low) or 1.0
    return low - margin, high + margin
