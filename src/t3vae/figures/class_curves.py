"""Curves of single classes against their training images, each model beside its controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from t3vae.figures.axes import few_handle, log_axis, panel_title, short_number, thin_ticks, wrapped
from t3vae.figures.style import Style

__all__ = ["class_curves"]

ROWS = (
    ("reconstruction_error", "reconstruction", "reconstruction error"),
    ("frechet_distance_classifier", "reconstruction", "Fréchet distance, reconstructions"),
    ("frechet_distance_classifier", "fitted", "Fréchet distance, fitted distribution"),
    ("class_f1", "reconstruction", "F1 of the class, reconstructions"),
    ("class_mass", "fitted", "share of images, fitted distribution"),
)
"""Metric, latent distribution and title of each row of panels; rows without values are left out."""

MOST = 6  # columns on a page
POINTS, PARTS = 12, 10  # of a curve: with more class sizes than the first, classes are pooled
LEFT_MM, GAP_MM, LINE_MM, HANDLE_MM = 11.0, 3.2, 3.5, 5.8
CURVE: dict[str, Any] = {"linewidth": 0.8, "markersize": 2.8, "markevery": None}

Comparison = tuple[str, list[str]]  # a model and its controls
Curve = tuple[np.ndarray, np.ndarray, np.ndarray]  # mean, half of the interval, warning


def class_curves(tables: Mapping[str, pd.DataFrame], style: Style) -> Figure:
    """Draw metrics against the number of training images, from many to few.

    From ``per_class.csv`` and ``paired.csv``.

    A column is a model and its controls: the models with the most controls, as many as fit
    on a page; a row is a metric under one latent distribution.
    """
    table = tables["per_class.csv"]
    shown = _comparisons(tables["paired.csv"], table, style)
    counts = table.drop_duplicates("group").set_index("group")["frequency"]
    parts = _parts(counts)
    sizes = np.array([np.exp(np.log(counts[part]).mean()) for part in parts])
    rows = [r for r in ROWS if table.loc[table["latent"] == r[1], r[0]].notna().any()]
    columns = max(1, len(shown))
    wide = columns > 2
    page = (style.page_width_mm if wide else style.column_width_mm) * 7.5 / style.font_size
    width = (page - LEFT_MM - 2.0 - (columns - 1) * GAP_MM) / columns
    names = [[wrapped(style.label(m), width + 1.8 - HANDLE_MM) for m in (a, *b)] for a, b in shown]
    lines = max((sum(text.count("\n") + 1 for text in texts) for texts in names), default=1)
    models = [model for model, _ in shown]
    around: Any = {
        "wide": wide,
        "legend": [few_handle()] if _few(table, models, rows) else [],
        "head": LINE_MM * lines + 1.0,
    }
    height = min(27.0, style.room(max(1, len(rows)), **around))
    drawn, grid = style.panels(
        max(1, len(rows)), columns, height, left=LEFT_MM, gap_x=GAP_MM, **around
    )
    for i, (metric, latent, title) in enumerate(rows):
        for j, (model, controls) in enumerate(shown):
            curves = {m: _curve(table, m, metric, latent, parts) for m in (model, *controls)}
            _panel(grid[i, j], sizes, curves, style)
            if metric == "class_mass":
                shares = counts / counts.sum()
                own = [float(shares[part].mean()) for part in parts]
                grid[i, j].plot(sizes, own, color="black", linewidth=0.4, zorder=1)
        _share_y(list(grid[i]))
        panel_title(grid[i, 0], title)
    for axes in grid.flat:
        _x_axis(axes, sizes, labelled=axes in grid[-1])
    grid[-1, 0].set_xlabel("training images of the class", loc="left")
    for j, (model, controls) in enumerate(shown):
        _names(drawn, grid[0, j], [model, *controls], names[j], style)
    return drawn


def _comparisons(pairs: pd.DataFrame, table: pd.DataFrame, style: Style) -> list[Comparison]:
    """Return the models with the most controls, in the order of the parameters."""
    known = [model for model in style.models if model in set(table["model"])]
    found: list[Comparison] = []
    for model in known:
        compared = set(pairs.loc[pairs["model"] == model, "control"]) - {model}
        found.append((model, [m for m in known if m in compared]))
    if any(controls for _, controls in found):
        found = [item for item in found if item[1]]
    kept = sorted(found, key=lambda item: -len(item[1]))[:MOST]
    return [item for item in found if item in kept]


def _parts(counts: pd.Series[float]) -> list[list[str]]:
    """Return the classes of each point: those of one size, or a tenth of all sizes."""
    sizes = sorted(set(counts[counts > 0]), reverse=True)
    cut = np.array_split(sizes, PARTS if len(sizes) > POINTS else len(sizes))
    return [list(counts.index[counts.isin(part)]) for part in cut]


def _curve(
    table: pd.DataFrame, model: str, metric: str, latent: str, parts: Sequence[list[str]]
) -> Curve:
    """Return the mean over the classes of each point, nothing where a class has no value.

    The interval of a mean over classes is at most the mean of their intervals (which it is
    when classes vary together), and this is what is returned.
    """
    own = table[(table["model"] == model) & (table["latent"] == latent)].set_index("group")
    columns = [metric, f"{metric}_half", f"{metric}_few"]
    own = own.reindex(columns=columns).astype(float)
    values = [own.reindex(part) for part in parts]
    mean, half = (
        np.array([part[column].mean(skipna=False) for part in values]) for column in columns[:2]
    )
    return mean, half, np.array([part[columns[2]].notna().any() for part in values])


def _few(table: pd.DataFrame, models: Sequence[str], rows: Sequence[tuple[str, str, str]]) -> bool:
    """Return whether any value of the models that is drawn carries a warning."""
    own = table[table["model"].isin(models)]
    return any(
        own.loc[own["latent"] == latent, f"{metric}_few"].notna().any()
        for metric, latent, _ in rows
        if f"{metric}_few" in own
    )


def _panel(axes: Axes, x: np.ndarray, curves: Mapping[str, Curve], style: Style) -> None:
    model, *controls = curves
    for i, name in enumerate(controls):
        mean, half, _ = curves[name]
        look = {**style.curve(name), **CURVE}
        colour = look["color"]
        place = x
        if len(x) > 1:
            axes.fill_between(x, mean - half, mean + half, color=colour, alpha=0.16, linewidth=0)
        else:  # of one size: side by side
            place = x / 1.1 ** (i + 1)
            axes.vlines(place, mean - half, mean + half, color=colour, linewidth=0.7)
        axes.plot(place, mean, **look)
    mean, half, few = curves[model]
    look = {**style.curve(model), **CURVE}
    axes.vlines(x, mean - half, mean + half, color=look["color"], linewidth=0.7)
    axes.plot(x, mean, **look | {"linewidth": 1.2})
    hollow = {"linestyle": "none", "markerfacecolor": "white", "markeredgewidth": 0.7}
    axes.plot(x[few], mean[few], **look | hollow)


def _share_y(row: Sequence[Axes]) -> None:
    """Give a row of panels one scale, from the means; logarithmic beyond a factor of four."""
    drawn = [np.asarray(line.get_ydata(), dtype=float) for axes in row for line in axes.lines]
    known = np.concatenate(drawn) if drawn else np.empty(0)
    known = known[np.isfinite(known)]
    if not len(known):
        return
    low, high = float(known.min()), float(known.max())
    logarithmic = low > 0 and high > 4 * low
    if logarithmic:
        ends = (low * (low / high) ** 0.06, high * (high / low) ** 0.06)
    else:
        margin = 0.07 * (high - low) or 0.1 * abs(high) or 1.0
        ends = (low - margin, high + margin)
    for axes in row:
        axes.set_ylim(*ends)
        if logarithmic:
            log_axis(axes, "y", dense=True)
        else:
            axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
            axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(short_number))
        axes.tick_params(labelleft=axes is row[0])
    thin_ticks(row[0], "y")


def _x_axis(axes: Axes, sizes: np.ndarray, *, labelled: bool) -> None:
    low, high = (float(sizes.min()), float(sizes.max())) if len(sizes) else (1.0, 1.0)
    wide = (high / low) ** 0.06 if high > low else 1.6
    axes.set_xlim(high * wide, low / wide)
    log_axis(axes, "x", dense=True)
    if labelled:
        thin_ticks(axes)
    axes.tick_params(labelbottom=labelled)


def _names(
    drawn: Figure, axes: Axes, models: Sequence[str], texts: Sequence[str], style: Style
) -> None:
    """Write the names of a column's curves above it."""
    handles = [Line2D([], [], **{**style.curve(model), **CURVE}) for model in models]
    box = axes.get_position()
    above = style.font_size / 7.5 * 4.8 / (25.4 * drawn.get_figheight())
    drawn.legend(
        handles,
        texts,
        loc="lower left",
        bbox_to_anchor=(box.x0, box.y1 + above),
        borderaxespad=0.0,
        borderpad=0.0,
        labelspacing=0.15,
        handlelength=1.8,
        handletextpad=0.4,
    )
