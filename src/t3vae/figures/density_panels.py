"""Densities of samples against the true one: a panel a model, a colour a latent distribution."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from t3vae.figures.axes import panel_title, shown
from t3vae.figures.style import LATENT_DASHES, Style, area_handle, latent_colour, latent_handle
from t3vae.tables.latent_titles import LATENT_LABELS, used_latents

__all__ = ["density", "density_log"]

GREY = "#D9D9D9"
FEWEST = 4.5  # samples in a bin: a line ends where fewer would make it


def density(tables: Mapping[str, pd.DataFrame], style: Style) -> Figure:
    """Draw densities on a linear axis, from ``densities.csv``."""
    table = tables["densities.csv"]
    drawn, panels = _panels(table, style)
    top = table.loc[table["model"] == "truth", "mean"].max()
    top = max(top, table.loc[table["latent"] == "fitted", "mean"].max())
    for axes in panels:
        axes.set_ylim(0, 1.25 * top)
    return drawn


def density_log(tables: Mapping[str, pd.DataFrame], style: Style) -> Figure:
    """Draw densities on a logarithmic axis, far into the tails, from ``densities_log.csv``."""
    table = tables["densities_log.csv"]
    drawn, panels = _panels(table, style)
    truth = table.loc[(table["model"] == "truth") & (table["mean"] > 0), "mean"]
    for axes in panels:
        axes.set_yscale("log")
        axes.set_ylim(0.3 * truth.min(), 4 * truth.max())
    return drawn


def _panels(table: pd.DataFrame, style: Style) -> tuple[Figure, list[Axes]]:
    models = [m for m in style.models if m in set(table["model"])]
    rows, columns, wide = style.grid(len(models))
    truth = table[table["model"] == "truth"]
    latents = used_latents(list(table["latent"].dropna().unique()))
    legend = [
        area_handle(GREY, LATENT_LABELS["truth"]),
        *(latent_handle(latent) for latent in latents),
    ]
    drawn, grid = style.panels(rows, columns, 18.0, wide=wide, legend=legend, left=12.5, gap_y=5.5)
    panels = []
    for model, (axes, leftmost, lowest) in zip(models, shown(grid, len(models)), strict=True):
        middle = _middle(truth)
        axes.fill_between(middle, 1e-300, truth["mean"], color=GREY, linewidth=0)
        axes.plot(middle, truth["mean"], color="black", linewidth=0.4)
        part = table[table["model"] == model]
        for latent in latents:
            _distribution(axes, part[part["latent"] == latent], latent)
        axes.set_xlim(truth["left"].min(), truth["right"].max())
        panel_title(axes, style.label(model))
        axes.tick_params(labelbottom=lowest, labelleft=leftmost)
        if lowest:
            axes.set_xlabel("x")
        if leftmost:
            axes.set_ylabel("density")
        panels.append(axes)
    drawn.align_ylabels(panels)
    return drawn, panels


def _distribution(axes: Axes, part: pd.DataFrame, latent: str) -> None:
    if part.empty:
        return
    middle = _middle(part)
    count = part["mean"] * (part["right"] - part["left"]) * part["samples"]
    mean = part["mean"].where(count > FEWEST)
    colour = latent_colour(latent)
    axes.fill_between(
        middle,
        part["minimum"],
        part["maximum"],
        where=(part["minimum"] > 0) & (count > FEWEST),
        color=colour,
        alpha=0.25,
        linewidth=0,
    )
    axes.plot(middle, mean, color=colour, linestyle=LATENT_DASHES.get(latent, "-"))


def _middle(part: pd.DataFrame) -> pd.Series:
    return 0.5 * (part["left"] + part["right"])
