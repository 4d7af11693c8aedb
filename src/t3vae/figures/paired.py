"""Paired differences to the controls: one panel a metric, models below the control they have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter

from t3vae.figures.axes import (
    few_handle,
    panel_title,
    point,
    short_number,
    shown,
    thin_ticks,
    wrapped,
)
from t3vae.figures.style import LATENT_MARKERS, Style, distribution_point_handle, latent_colour
from t3vae.tables.headlines import HEADLINES, Headline
from t3vae.tables.latent_titles import used_latents

__all__ = ["paired"]

Line = tuple[str, str]  # model, or nothing for a heading, and its control
MANY = 16  # lines, from which on panels are narrow
LEAST_MM = 2.8  # of a line, so that names do not touch


def paired(tables: Mapping[str, pd.DataFrame], style: Style) -> Figure:
    """Draw differences of models to their controls, with intervals over seeds, from ``paired.csv``.

    Metrics fill a page in the order of the headlines; the others, and lines that no page
    holds, are in the table alone.
    """
    table = tables["paired.csv"]
    table = table[~(table["metric"] == "class_mass")]
    lines = _lines(table, style)
    chosen = [(h, found) for h in HEADLINES if len(found := _rows(table, h))]
    latents = used_latents(list(table["latent"].dropna().unique()))
    many = len(lines) > MANY
    columns = min(6 if many else 4, max(1, len(chosen)))
    texts = [style.label(model) if model else f"− {style.label(c)}:" for model, c in lines]
    left, gap = 3.0 + 1.45 * max(map(len, texts), default=4), 4.5 if many else 6.5
    legend = [distribution_point_handle(latent) for latent in latents]
    if any(found["flag"].notna().any() for _, found in chosen):
        legend.append(few_handle())
    room = (style.page_width_mm - left - 4.0 - (columns - 1) * gap) / columns + 0.5 * gap
    titles = [wrapped(headline.label, room) for headline, _ in chosen]
    high = 3.2 * max((text.count("\n") for text in titles), default=0)
    around: Any = {
        "wide": True, "legend": legend, "bottom": 5.0, "gap_y": 9.5 + high, "head": high
    }  # fmt: skip
    rows = max(1, -(-len(chosen) // columns))
    while rows > 1 and style.room(rows, **around) < LEAST_MM * len(lines):
        rows -= 1
    page = style.room(rows, **around)
    most = int(page / LEAST_MM)
    lines, texts = lines[:most], texts[:most]
    height = min(page, (3.0 if many else 3.6) * max(len(lines), 4))
    drawn, grid = style.panels(rows, columns, height, left=left, right=4.0, gap_x=gap, **around)
    count = min(len(chosen), grid.size)
    for i, (axes, leftmost, _) in enumerate(shown(grid, count)):
        _panel(axes, chosen[i][1], lines, latents)
        panel_title(axes, titles[i])
        axes.set_yticks(range(len(lines)), texts)
        axes.tick_params(axis="y", length=0, labelleft=leftmost)
        axes.xaxis.set_major_locator(FixedLocator(_ticks(axes.get_xlim()[1])))
        axes.xaxis.set_major_formatter(FuncFormatter(short_number))
        thin_ticks(axes)
    return drawn


def _lines(table: pd.DataFrame, style: Style) -> list[Line]:
    """Return the lines from top to bottom: of each control a heading, then its models."""
    pairs = table[["control", "model"]].drop_duplicates()
    found: list[Line] = []
    for control in (m for m in style.models if m in set(pairs["control"])):
        compared = set(pairs.loc[pairs["control"] == control, "model"])
        found += [("", control), *((m, control) for m in style.models if m in compared)]
    return found


def _ticks(end: float) -> list[float]:
    """Return a round number well inside the axis, on both sides of zero."""
    power = 10.0 ** np.floor(np.log10(0.75 * end))
    largest = (
        max(step for step in (1.0, 2.0, 3.0, 4.0, 6.0, 8.0) if step * power <= 0.75 * end) * power
    )
    return [-largest, 0.0, largest]


def _rows(table: pd.DataFrame, headline: Headline) -> pd.DataFrame:
    rows = headline.rows(table)
    return rows[rows["group"].isin(headline.groups)]


def _panel(axes: Axes, rows: pd.DataFrame, lines: list[Line], latents: list[str]) -> None:
    offsets = dict(zip(latents, np.linspace(-0.27, 0.27, len(latents)), strict=True))
    if len(latents) == 1:
        offsets[latents[0]] = 0.0
    places = {line: y for y, line in enumerate(lines)}
    for row in rows.to_dict("records"):
        y = places.get((row["model"], row["control"]))
        if y is not None:
            latent = row["latent"]
            point(
                axes,
                (row["difference"], y + offsets[latent]),
                (row["ci_low"], row["ci_high"]),
                colour=latent_colour(latent),
                marker=LATENT_MARKERS.get(latent, "^"),
                few=not pd.isna(row["flag"]),
            )
    first = 0
    for y, (model, _) in enumerate(lines):
        if not model:
            first = y
            axes.axhline(y, color="#BBBBBB", linewidth=0.4, zorder=0)
        elif (y - first) % 2:
            axes.axhspan(y - 0.5, y + 0.5, color="#F3F3F3", linewidth=0, zorder=0)
    axes.axvline(0.0, color="black", linewidth=0.6, linestyle=(0, (1, 1)))
    axes.set_ylim(len(lines) - 0.5, -0.5)
    axes.spines["left"].set_visible(False)
    known = rows["difference"].abs().dropna()
    widest = 1.5 * float(known.max() if len(known) else 0.0) or 1.0
    axes.set_xlim(-widest, widest)
