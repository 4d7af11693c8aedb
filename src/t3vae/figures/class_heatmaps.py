"""Heat maps of single classes and of face attributes: a row a model, a column a class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from t3vae.figures.axes import panel_title, short_number, shown, thin_ticks
from t3vae.figures.style import Style
from t3vae.tables.latent_titles import LATENT_SHORT

__all__ = ["attributes", "per_class"]

PANELS = (
    ("reconstruction_error", "reconstruction"),
    ("fid", "reconstruction"),
    ("fid", "fitted"),
    ("frechet_distance_classifier", "reconstruction"),
    ("frechet_distance_classifier", "prior"),
    ("frechet_distance_classifier", "fitted"),
    ("class_f1", "prior"),
    ("class_mass", "prior"),
    ("class_mass", "fitted"),
)
OF_ATTRIBUTES = ("reconstruction_error", "fid", "frechet_distance_classifier", "kid")
SHORT = {
    "reconstruction_error": "error",
    "frechet_distance_classifier": "Fréchet",
    "class_f1": "F1",
    "class_mass": "share",
}
ROW_MM, BAR_MM = 2.95, 1.5
GREY = "#E2E2E2"


def per_class(tables: Mapping[str, pd.DataFrame], style: Style) -> Figure:
    """Draw metrics of single classes, from many to few training images, from ``per_class.csv``."""
    table = tables["per_class.csv"]
    members, panels = _members(table), _present(table, PANELS)
    models = _models(table, style)
    columns = min(3, max(1, len(panels)))
    rows = max(1, -(-len(panels) // columns))
    drawn, grid = style.panels(
        rows,
        columns,
        ROW_MM * max(len(models), 4),
        wide=True,
        left=_room(models, style),
        right=11.0,
        gap_x=13.5,
        gap_y=8.5,
    )
    for panel, (axes, leftmost, lowest) in zip(panels, shown(grid, len(panels)), strict=True):
        _heat(axes, table, panel, models, list(members["group"]), style)
        axes.tick_params(labelleft=leftmost)
        step = -(-len(members) // 12)
        places = np.arange(0, len(members), step)
        texts = [f"{count:.0f}" for count in members["frequency"].iloc[places]]
        axes.set_xticks(places + 0.5, texts)
        thin_ticks(axes)
        axes.xaxis.set_minor_locator(NullLocator())
        if lowest:
            axes.set_xlabel("training images of the class")
    return drawn


def attributes(tables: Mapping[str, pd.DataFrame], style: Style) -> Figure:
    """Draw metrics of images with each attribute, from common to rare, from ``attributes.csv``."""
    table = tables["attributes.csv"]
    members = _members(table)
    panels = _present(table, tuple((metric, "reconstruction") for metric in OF_ATTRIBUTES))[:3]
    models = _models(table, style)
    texts = [
        f"{name.replace('_', ' ')} ({100 * share:.0f} %)"
        for name, share in zip(members["name"], members["frequency"], strict=True)
    ]
    drawn, grid = style.panels(
        max(1, len(panels)),
        1,
        ROW_MM * max(len(models), 4),
        wide=True,
        left=_room(models, style),
        right=11.0,
        bottom=2.0 + 1.45 * max(map(len, texts)),
        gap_y=6.0,
    )
    for panel, (axes, _, lowest) in zip(panels, shown(grid, len(panels)), strict=True):
        _heat(axes, table, panel, models, list(members["group"]), style)
        axes.set_xticks(np.arange(len(texts)) + 0.5, texts, rotation=90)
        axes.tick_params(labelbottom=lowest)
    return drawn


def _heat(
    axes: Axes,
    table: pd.DataFrame,
    panel: tuple[str, str],
    models: Sequence[str],
    groups: Sequence[str],
    style: Style,
) -> None:
    """Draw one metric under one distribution, with a colour bar of its own at the right."""
    metric, latent = panel
    part = table[table["latent"] == latent]
    values = part.pivot(index="model", columns="group", values=metric)
    values = values.reindex(index=list(models), columns=list(groups)).astype(float)
    drawn = axes.get_figure(root=True)
    assert drawn is not None
    box = axes.get_position()
    width = BAR_MM / (25.4 * drawn.get_figwidth())
    bar = drawn.add_axes((box.x1 + 0.7 * width, box.y0, width, box.height))
    scale = _scale(values)
    with _alone(axes, bar):
        sns.heatmap(
            values,
            ax=axes,
            cbar_ax=bar,
            norm=scale,
            cmap="viridis",
            xticklabels=False,
            yticklabels=False,
            rasterized=True,
        )
    axes.set_facecolor(GREY)
    axes.set(xlabel="", ylabel="")
    axes.set_yticks(np.arange(len(models)) + 0.5, [style.label(m) for m in models])
    axes.tick_params(axis="y", length=0)
    logarithmic = isinstance(scale, LogNorm)
    bar.yaxis.set_major_locator(
        LogLocator(subs=(1.0, 2.0, 5.0)) if logarithmic else MaxNLocator(4, steps=[1, 2, 5, 10])
    )
    bar.yaxis.set_minor_locator(NullLocator())
    bar.yaxis.set_major_formatter(FuncFormatter(short_number))
    few = f"{metric}_few" in part and bool(part[f"{metric}_few"].notna().any())
    title = f"{SHORT.get(metric, metric)}, {LATENT_SHORT.get(latent, latent)}"
    panel_title(axes, title + (" †" if few else ""))


@contextmanager
def _alone(*kept: Axes) -> Iterator[None]:
    """Hide all other axes within a block: seaborn draws the whole figure for each heat map."""
    drawn = kept[0].get_figure(root=True)
    assert drawn is not None
    others = [axes for axes in drawn.axes if axes.get_visible() and axes not in kept]
    for axes in others:
        axes.set_visible(False)
    yield
    for axes in others:
        axes.set_visible(True)


def _scale(values: pd.DataFrame) -> Any:
    """Return a logarithmic scale where values span more than a factor of four."""
    known = values.to_numpy()[np.isfinite(values.to_numpy())]
    low, high = float(known.min()), float(known.max())
    if low > 0 and high > 4 * low:
        return LogNorm(low, high)
    return Normalize(min(low, 0.0) if high > 2 * low else low, high if high > low else low + 1.0)


def _present(table: pd.DataFrame, panels: tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
    return [
        (metric, latent)
        for metric, latent in panels
        if table.loc[table["latent"] == latent, metric].notna().any()
    ]


def _members(table: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each class or attribute, from frequent to rare."""
    unique = table.drop_duplicates("group")
    return unique.sort_values("frequency", ascending=False, kind="stable")


def _models(table: pd.DataFrame, style: Style) -> list[str]:
    return [model for model in style.models if model in set(table["model"])]


def _room(models: Sequence[str], style: Style) -> float:
    """Return the millimetres that names of models take."""
    return 3.0 + 1.45 * max((len(style.label(m)) for m in models), default=4)
