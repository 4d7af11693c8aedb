"""Headline metrics: one panel a metric, models on the y axis, points with 95 % intervals."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter, NullLocator

from t3vae.figures.axes import (
    few_handle,
    log_axis,
    panel_title,
    point,
    short_number,
    shown,
    thin_ticks,
)
from t3vae.figures.style import LATENT_MARKERS, Style, distribution_point_handle, latent_colour
from t3vae.tables.headlines import HEADLINES, Headline, select
from t3vae.tables.latent_titles import LATENT_LABELS, used_latents

__all__ = ["metrics"]


def metrics(tables: Mapping[str, pd.DataFrame], style: Style) -> Figure:
    """Draw the headline metrics of all models, from ``metrics.csv``."""
    table = tables["metrics.csv"]
    chosen = [(h, found) for h in HEADLINES if len(found := select(table, h))]
    models = [m for m in style.models if m in set(table["model"])]
    latents = used_latents(list(table["latent"].dropna().unique()))
    wide = len(models) > 10 or "reconstruction" in latents
    columns = 4 if wide else 2
    rows = max(1, -(-len(chosen) // columns))
    drawn, grid = style.panels(
        rows,
        columns,
        (3.5 if len(models) < 20 else 3.1) * max(len(models), 3),
        wide=wide,
        legend=_legend(latents, [found for _, found in chosen]),
        left=max(2.0 + 1.45 * max(len(style.label(m)) for m in models), 11.0),
        right=4.0,
        bottom=5.0,
        gap_x=6.5,
        gap_y=9.5,
    )
    for (headline, found), (axes, left, _) in zip(chosen, shown(grid, len(chosen)), strict=True):
        _panel(axes, headline, found, models, latents, style)
        axes.tick_params(labelleft=left)
    return drawn


def _panel(
    axes: Axes,
    headline: Headline,
    rows: pd.DataFrame,
    models: list[str],
    latents: list[str],
    style: Style,
) -> None:
    ideal = rows["ideal"].dropna()
    if len(ideal):
        axes.axvline(float(ideal.iloc[0]), color="black", linewidth=0.6, linestyle=(0, (1, 1)))
    offsets = np.linspace(-0.26, 0.26, len(latents)) if len(latents) > 1 else [0.0]
    missing: dict[int, list[tuple[float, str]]] = {}
    for j, latent in enumerate(latents):
        part = rows[rows["latent"] == latent].set_index("model")
        for i, model in enumerate(models):
            if model not in part.index:
                continue
            row = part.loc[model]
            if pd.isna(row["mean"]):
                missing.setdefault(i, []).append((i + offsets[j], latent))
                continue
            low = row["ci_low"]
            if headline.scale == "log" and not pd.isna(low):
                low = max(low, row["mean"] / 1e3)
            point(
                axes,
                (row["mean"], i + offsets[j]),
                (low, row["ci_high"]),
                colour=latent_colour(latent),
                marker=LATENT_MARKERS.get(latent, "^"),
                few=not pd.isna(row["flag"]),
            )
    for i in range(0, len(models), 2):
        axes.axhspan(i - 0.5, i + 0.5, color="#F3F3F3", linewidth=0, zorder=0)
    axes.set_ylim(len(models) - 0.5, -0.5)
    axes.set_yticks(range(len(models)), [style.label(m) for m in models])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    panel_title(axes, headline.label)
    _scale(axes, headline, rows)
    thin_ticks(axes)
    for i, places in missing.items():
        alone = len(places) == 1
        axes.annotate(
            "no value" if len(missing) < 4 else "–",
            (0.02, places[0][0] if alone else i),
            xycoords=("axes fraction", "data"),
            color=latent_colour(places[0][1]) if alone else "#555555",
            va="center",
            bbox={"facecolor": "white", "linewidth": 0, "pad": 0.3, "alpha": 0.9},
        )


def _scale(axes: Axes, headline: Headline, rows: pd.DataFrame) -> None:
    values = rows["mean"].dropna()
    if not len(values):
        axes.xaxis.set_major_locator(NullLocator())
        return
    ends = [values, rows["ideal"].dropna().astype(float)]
    ends += [rows[name].dropna() for name in ("ci_low", "ci_high")]
    low, high = float(pd.concat(ends).min()), float(pd.concat(ends).max())
    if headline.scale == "log" and (values > 0).all():
        low = max(low, 0.3 * float(values.min()))
        margin = (high / low) ** 0.05 * 1.04
        axes.set_xscale("log")
        axes.set_xlim(low / margin, high * margin)
        if high / low > 8:
            log_axis(axes, "x")
            return
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_minor_locator(NullLocator())
    elif headline.scale == "symlog" and high > 30 * float(values.abs().median()) > 0:
        linear = 10.0 ** np.ceil(np.log10(float(values.abs().median())))
        axes.set_xscale("symlog", linthresh=linear, linscale=0.8)
        powers = range(1, int(np.floor(np.log10(high / linear))) + 1)
        ticks = [0.0, *(linear * 10.0**k for k in powers)][:: 1 if len(powers) < 3 else 2]
        axes.set_xticks(ticks if len(ticks) > 1 else [0.0, linear])
        axes.xaxis.set_minor_locator(NullLocator())
        return
    many = MaxNLocator(4, steps=[1, 2, 5, 10])
    short = max(len(short_number(tick)) for tick in many.tick_values(low, high)) <= 3
    axes.xaxis.set_major_locator(many if short else MaxNLocator(3, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(short_number))


def _legend(latents: list[str], shown_rows: list[pd.DataFrame]) -> list[tuple[Artist, str]]:
    handles = [distribution_point_handle(latent) for latent in latents]
    if any(rows["flag"].notna().any() for rows in shown_rows):
        handles.append(few_handle())
    if any(rows["ideal"].notna().any() for rows in shown_rows):
        truth = Line2D([], [], color="black", linewidth=0.6, linestyle=(0, (1, 1)))
        handles.append((truth, LATENT_LABELS["truth"]))
    return handles
