"""Training curves: reconstruction, regularizer and total of training and validation data.

Few models share three panels, one a part of the loss. Many have a panel each, with an axis of
its own: the heights of two objectives say nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from t3vae.figures.axes import panel_title, short_number, shown, wrapped
from t3vae.figures.style import OKABE_ITO, Style, model_handle

__all__ = ["history"]

PARTS = {
    "reconstruction": OKABE_ITO["purple"],
    "regularizer": OKABE_ITO["orange"],
    "total": OKABE_ITO["black"],
}
MANY = 10
_TRAINING: dict[str, Any] = {"linewidth": 0.5, "marker": "None"}
_SHIFT = 0.5  # of the axis: how far beyond settled values a curve is still followed


def history(tables: Mapping[str, pd.DataFrame], style: Style) -> Figure:
    """Draw the three parts of the loss against the epoch, from ``history.csv``."""
    table = tables["history.csv"]
    table = table[table["seeds"] == table.groupby("model")["seeds"].transform("max")]
    models = [m for m in style.models if m in set(table["model"])]
    drawn, panels = (_of_models if len(models) > MANY else _of_parts)(table, models, style)
    epochs = table["epoch"].min(), max(table["epoch"].max(), table["epoch"].min() + 1)
    for axes, curves in panels:
        axes.set_xlim(*epochs)
        axes.xaxis.set_major_locator(MaxNLocator(6 if len(models) <= MANY else 3, integer=True))
        for rows, part, look in curves:
            _curves(axes, rows, part, look)
        means = [
            (rows.set_index("epoch")[f"{split}_{part}_mean"], look["color"])
            for rows, part, look in curves
            for split in ("train", "validation")
        ]
        axes.set_ylim(*limits([values for values, _ in means]))
        _carets(axes, means)
    return drawn


Curves = list[tuple[pd.DataFrame, str, dict[str, Any]]]
Panels = list[tuple[Axes, Curves]]


def _of_parts(table: pd.DataFrame, models: Sequence[str], style: Style) -> tuple[Figure, Panels]:
    legend = [model_handle(model, style) for model in models]
    drawn, grid = style.panels(3, 1, 27.0, legend=[*legend, *_splits()], left=12.0, gap_y=6.5)
    panels = []
    for axes, part in zip(grid[:, 0], PARTS, strict=True):
        panel_title(axes, part)
        axes.set_ylabel("loss (2 × nats)")
        axes.tick_params(labelbottom=part == "total")
        panels.append((axes, [(table[table["model"] == m], part, style.curve(m)) for m in models]))
    grid[-1, 0].set_xlabel("epoch")
    drawn.align_ylabels(grid[:, 0])
    return drawn, panels


def _of_models(table: pd.DataFrame, models: Sequence[str], style: Style) -> tuple[Figure, Panels]:
    rows, columns, wide = style.grid(len(models))
    legend = [(Line2D([], [], color=colour), part) for part, colour in PARTS.items()]
    titles = [wrapped(style.label(m), 27.0) for m in models]
    high = 3.2 * max(text.count("\n") for text in titles)
    drawn, grid = style.panels(
        rows,
        columns,
        17.0,
        wide=wide,
        legend=[*legend, *_splits()],
        left=13.5,
        gap_x=10.0,
        gap_y=6.0 + high,
        head=high,
    )
    panels = []
    places = zip(models, titles, shown(grid, len(models)), strict=True)
    for model, title, (axes, leftmost, lowest) in places:
        panel_title(axes, title)
        axes.yaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))
        axes.yaxis.set_major_formatter(FuncFormatter(short_number))
        axes.tick_params(labelbottom=lowest)
        if lowest:
            axes.set_xlabel("epoch")
        if leftmost:
            axes.set_ylabel("2 × nats")
        own = table[table["model"] == model]
        panels.append((axes, [(own, part, {"color": colour}) for part, colour in PARTS.items()]))
    drawn.align_ylabels(grid[:, 0])
    return drawn, panels


def _splits() -> list[tuple[Line2D, str]]:
    thick, thin = (Line2D([], [], color="#7F7F7F", **width) for width in ({}, _TRAINING))
    return [(thick, "validation"), (thin, "training")]


def _curves(axes: Axes, table: pd.DataFrame, part: str, look: dict[str, Any]) -> None:
    name = f"validation_{part}"
    axes.fill_between(
        table["epoch"],
        table[f"{name}_minimum"],
        table[f"{name}_maximum"],
        color=look["color"],
        alpha=0.2,
        linewidth=0,
    )
    axes.plot(table["epoch"], table[f"{name}_mean"], **look)
    axes.plot(table["epoch"], table[f"train_{part}_mean"], **{**look, **_TRAINING})


def limits(curves: Sequence[pd.Series]) -> tuple[float, float]:
    """Return limits that hold the descent and what curves settle to, but no single outlier.

    The range of running medians over five epochs, after the first 3 % of epochs, grows to the
    furthest value that is at most half of it away; a lone peak is further.

    Args:
        curves: values by epoch.

    Example:
        >>> flat = pd.Series([1.0, 2.0] * 20)
        >>> flat[20] = 500.0
        >>> limits([flat])
        (0.94, 2.06)
    """
    later = []
    for values in curves:
        epochs = values.index
        kept = values[epochs > epochs.min() + 0.03 * (epochs.max() - epochs.min())].dropna()
        later.append(kept if len(kept) else values.dropna())
    every = np.concatenate([values.to_numpy() for values in later])
    smooth = np.concatenate(
        [v.rolling(5, center=True, min_periods=1).median().to_numpy() for v in later]
    )
    low, high = float(smooth.min()), float(smooth.max())
    reach = _SHIFT * (high - low) or np.inf
    near = every[(every >= low - reach) & (every <= high + reach)]
    low, high = float(near.min()), float(near.max())
    margin = 0.06 * (high - low) or 1.0
    return low - margin, high + margin


def _carets(axes: Axes, curves: Sequence[tuple[pd.Series, str]]) -> None:
    """Mark where means leave the axes after the first epoch, with the furthest value if alone."""
    low, high = axes.get_ylim()
    middle = float(np.mean(axes.get_xlim()))
    found: dict[tuple[float, bool, str], float] = {}
    for values, colour in curves:
        for epoch, value in _departures(values, low, high):
            key = (epoch, value > high, colour)
            found[key] = max(value, found.get(key, value), key=abs)
    for (epoch, above, colour), value in found.items():
        place = (epoch, 1.0 if above else 0.0)
        axes.plot(
            *place,
            marker="^" if above else "v",
            color=colour,
            markersize=3.6,
            markeredgewidth=0,
            linestyle="none",
            transform=axes.get_xaxis_transform(),
            clip_on=False,
            zorder=5,
        )
        if len(found) <= 2:
            right = epoch > middle
            axes.annotate(
                short_number(float(f"{value:.3g}")),
                place,
                (-4 if right else 4, -1 if above else 1),
                xycoords=axes.get_xaxis_transform(),
                textcoords="offset points",
                ha="right" if right else "left",
                va="top" if above else "bottom",
                color=colour,
                annotation_clip=False,
            )


def _departures(values: pd.Series, low: float, high: float) -> Iterator[tuple[float, float]]:
    """Yield epoch and value of the furthest point of each stay outside of the limits.

    A curve that begins outside is seen to come from there; it yields nothing.
    """
    levels = values.to_numpy(dtype=float)
    beyond = np.nan_to_num(np.maximum(levels - high, low - levels), nan=-1.0)
    outside = np.flatnonzero(beyond > 0)
    for stay in np.split(outside, np.flatnonzero(np.diff(outside) > 1) + 1):
        if len(stay) and stay[0] > 0:
            furthest = int(stay[np.argmax(beyond[stay])])
            yield float(values.index[furthest]), float(levels[furthest])
