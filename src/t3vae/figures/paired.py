"""Paired differences to the controls: one panel a metric, one line a model and control."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from t3vae.figures.labels import LAW_SHORT, model_label, used_laws
from t3vae.figures.style import LAW_MARKERS, Style, panel_title
from t3vae.tables.headlines import HEADLINES, Headline

__all__ = ["paired"]


def paired(tables: Mapping[str, pd.DataFrame], style: Style) -> Figure:
    """Draw differences of models to their controls, with intervals over seeds.

    Args:
        tables: ``paired.csv``.
        style: sizes, colours and models.
    """
    table = tables["paired.csv"]
    table = table[~(table["metric"] == "class_mass")]
    pairs = [
        (model, control)
        for model in style.models
        for control in dict.fromkeys(table[table["model"] == model]["control"])
    ]
    shown = [(h, found) for h in HEADLINES if len(found := _rows(table, h))]
    laws = used_laws(list(table["latent"].dropna().unique()))
    columns = min(4, max(1, len(shown)))
    rows = max(1, -(-len(shown) // columns))
    texts = [f"{model_label(m)} − {model_label(c)}" for m, c in pairs]
    legend = [
        (
            Line2D(
                [],
                [],
                color=style.colour(law),
                marker=LAW_MARKERS.get(law, "^"),
                markersize=3,
                linewidth=0.9,
            ),
            LAW_SHORT.get(law, law),
        )
        for law in laws
    ]
    drawn, grid = style.panels(
        rows,
        columns,
        3.9 * max(len(pairs), 3),
        wide=True,
        legend=legend,
        left=3.0 + 1.42 * max(map(len, texts), default=4),
        right=4.0,
        bottom=5.0,
        gap_x=6.5,
        gap_y=9.5,
    )
    for i, axes in enumerate(grid.flat):
        if i >= len(shown):
            axes.set_visible(False)
            continue
        _panel(axes, *shown[i], pairs, texts, laws, style)
        axes.tick_params(labelleft=i % columns == 0)
    return drawn


def _rows(table: pd.DataFrame, headline: Headline) -> pd.DataFrame:
    rows = table[(table["metric"] == headline.metric) & (table["group"].isin(headline.groups))]
    return rows[rows["latent"] == "reconstruction"] if headline.reconstructed else rows


def _panel(
    axes: Axes,
    headline: Headline,
    rows: pd.DataFrame,
    pairs: list[tuple[str, str]],
    texts: list[str],
    laws: list[str],
    style: Style,
) -> None:
    axes.axvline(0.0, color="black", linewidth=0.6, linestyle=(0, (1, 1)))
    offsets = np.linspace(-0.27, 0.27, len(laws)) if len(laws) > 1 else [0.0]
    values = []
    for j, law in enumerate(laws):
        part = rows[rows["latent"] == law]
        for i, (model, control) in enumerate(pairs):
            own = part[(part["model"] == model) & (part["control"] == control)]
            if own.empty:
                continue
            row, y, colour = own.iloc[0], i + offsets[j], style.colour(law)
            values.append(float(row["difference"]))
            if not pd.isna(row["ci_low"]):
                axes.plot([row["ci_low"], row["ci_high"]], [y, y], color=colour, linewidth=0.9)
            axes.plot(
                row["difference"],
                y,
                marker=LAW_MARKERS.get(law, "^"),
                color=colour,
                markersize=2.6,
                markeredgewidth=0.0,
                linestyle="none",
            )
    for i in range(0, len(pairs), 2):
        axes.axhspan(i - 0.5, i + 0.5, color="#F3F3F3", linewidth=0, zorder=0)
    axes.set_ylim(len(pairs) - 0.5, -0.5)
    axes.set_yticks(range(len(pairs)), texts)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    widest = 1.5 * max((abs(value) for value in values), default=1.0) or 1.0
    axes.set_xlim(-widest, widest)
    axes.xaxis.set_major_locator(MaxNLocator(3, symmetric=True))
    panel_title(axes, headline.label)
