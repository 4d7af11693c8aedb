"""The aggregate posterior against each latent distribution: what decides the quality of samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from t3vae.figures.axes import log_axis, panel_title, shown, wrapped
from t3vae.figures.style import LATENT_DASHES, Style, area_handle, latent_colour, latent_handle
from t3vae.tables.latent_titles import LATENT_LABELS, used_latents

__all__ = ["aggregate"]

GREY = "#CFCFCF"


def aggregate(tables: Mapping[str, pd.DataFrame], style: Style) -> Figure:
    """Draw the densities in latent space on a logarithmic axis, one panel a model.

    From ``aggregate.csv`` and ``latent_mismatch.csv``.
    """
    table, distances = tables["aggregate.csv"], tables["latent_mismatch.csv"]
    models = [m for m in style.models if m in set(table["model"])]
    latents = used_latents([latent for latent in table["latent"].unique() if latent != "aggregate"])
    rows, columns, wide = style.grid(len(models))
    legend = [
        area_handle(GREY, LATENT_LABELS["aggregate"]),
        *(latent_handle(n) for n in latents),
    ]
    titles = [wrapped(style.label(m), 27.0 if wide else 38.0) for m in models]
    high = 3.2 * max((text.count("\n") for text in titles), default=0)
    drawn, grid = style.panels(
        rows,
        columns,
        21.0,
        wide=wide,
        legend=legend,
        left=12.0,
        gap_x=11.0,
        gap_y=9.0 + high,
        head=high,
    )
    panels = zip(models, titles, shown(grid, len(models)), strict=True)
    for model, title, (axes, leftmost, lowest) in panels:
        part = table[table["model"] == model]
        base = part[part["latent"] == "aggregate"]
        edges = np.append(base["left"].to_numpy(), base["right"].iloc[-1])
        floor, top = _limits(base)
        axes.stairs(base["density"], edges, fill=True, color=GREY, baseline=floor / 10)
        for latent in latents:
            chosen = part[part["latent"] == latent]
            axes.plot(
                0.5 * (chosen["left"] + chosen["right"]),
                chosen["density"].where(chosen["density"] > 0),
                color=latent_colour(latent),
                linestyle=LATENT_DASHES.get(latent, "-"),
            )
        axes.set_yscale("log")
        axes.set_ylim(floor, top)
        log_axis(axes, "y")
        axes.set_xlim(edges[0], edges[-1])
        panel_title(axes, title)
        _distances(axes, distances[distances["model"] == model], latents, wide)
        if leftmost:
            axes.set_ylabel("density")
        if lowest:
            axes.set_xlabel("latent variable z")
    return drawn


def _limits(base: pd.DataFrame) -> tuple[float, float]:
    """Return limits that leave the upper quarter to the numbers."""
    positive = base.loc[base["density"] > 0, "density"]
    floor, top = 0.5 * float(positive.min()), 2.0 * float(positive.max())
    return floor, top * (top / floor) ** 0.33


def _distances(axes: Axes, rows: pd.DataFrame, latents: list[str], wide: bool) -> None:
    """Write the Kolmogorov-Smirnov distance of each distribution in its colour."""
    place: dict[str, Any] = {"xycoords": "axes fraction", "va": "top"}
    start, step = (0.01, 0.345) if wide else (0.18, 0.28)
    if not wide:
        axes.annotate("KS", (0.03, 0.97), color="#555555", **place)
    for k, latent in enumerate(latents):
        values = rows.loc[rows["latent"] == latent, "mean"]
        if len(values):
            text = f"{values.iloc[0]:.3f}"
            axes.annotate(text, (start + step * k, 0.97), color=latent_colour(latent), **place)
