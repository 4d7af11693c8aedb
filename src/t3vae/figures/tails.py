"""Tails: survival functions on log-log axes, and tail quantiles against the true ones.

One row a latent distribution, one column a tail, all models in a panel: what changes from row to
row is only where the latent samples come from.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from t3vae.figures.axes import log_axis, panel_title, shown
from t3vae.figures.style import Style, area_handle, model_handle
from t3vae.tables.latent_titles import LATENT_LABELS, used_latents

__all__ = ["survival", "tail_qq"]

GREY = "#D0D0D0"
FEWEST = 4.5  # samples beyond a value: a line ends where fewer would make it
_TRUTH: dict[str, Any] = {"color": "black", "linewidth": 0.9, "linestyle": (0, (1, 1))}
_VALUE = {"left": "t", "right": "t", "norm": "r"}
_PROBABILITY = {"left": "P(X < −t)", "right": "P(X > t)", "norm": "P(‖X‖ > r)"}


_Panel = tuple[Axes, str, str, bool]  # latent distribution, tail, whether it is a lowest panel


def survival(tables: Mapping[str, pd.DataFrame], style: Style) -> Figure:
    """Draw the probability of exceeding a value against the value, from ``survival.csv``."""
    table = tables["survival.csv"]
    drawn, panels = _panels(table, style, 27.0)
    table = table[(table["model"] == "truth") | (table["mean"] * table["samples"] > FEWEST)]
    models = table[table["model"] != "truth"]
    floor = 0.4 * float(models["mean"].min()) if len(models) else 1e-6
    for axes, latent, tail, lowest in panels:
        truth = _truth(axes, table, tail, floor)
        for model in style.models:
            _line(axes, table, model, latent, tail, style)
        visible = truth[truth["mean"] > floor]
        axes.plot(visible["left"], visible["mean"], **_TRUTH)
        reached = pd.concat([visible["left"], models.loc[models["panel"] == tail, "left"]])
        axes.set_xlim(reached.min(), 1.05 * reached.max())
        axes.set_ylim(floor, 0.3)
        log_axis(axes, "x", dense=True)
        log_axis(axes, "y")
        if lowest:
            axes.set_xlabel(_VALUE[tail])
        axes.set_ylabel(_PROBABILITY[tail])
    return drawn


def tail_qq(tables: Mapping[str, pd.DataFrame], style: Style) -> Figure:
    """Draw the tail quantiles of each model against the true ones, from ``quantiles.csv``."""
    table = tables["quantiles.csv"]
    drawn, panels = _panels(table, style, 29.0)
    for axes, latent, tail, lowest in panels:
        truth = _truth(axes, table, tail, 1e-300)
        for model in style.models:
            _line(axes, table, model, latent, tail, style)
        axes.plot(truth["left"], truth["mean"], **_TRUTH)
        everything = table.loc[(table["panel"] == tail) & (table["mean"] > 0), "mean"]
        low, high = truth["left"].min(), truth["left"].max()
        axes.set_xlim(low / 1.05, high * 1.05)
        axes.set_ylim(max(everything.min(), low / 4) / 1.1, min(everything.max(), high * 30) * 1.2)
        log_axis(axes, "x", dense=True)
        log_axis(axes, "y", dense=True)
        sign = "−" if tail == "left" else ""
        what = "quantile of ‖X‖" if tail == "norm" else "quantile"
        if lowest:
            axes.set_xlabel(f"{sign}true {what}")
        axes.set_ylabel(f"{sign}model {what}")
    return drawn


def _panels(table: pd.DataFrame, style: Style, height: float) -> tuple[Figure, list[_Panel]]:
    """Return a panel for each latent distribution and tail; a single tail has them side by side."""
    latents = used_latents(list(table["latent"].dropna().unique()))
    tails = list(table["panel"].unique())
    legend = [
        (Line2D([], [], **_TRUTH), LATENT_LABELS["truth"]),
        area_handle(GREY, "95 % band"),
        *(model_handle(model, style) for model in style.models),
    ]
    wanted = [(latent, tail) for latent in latents for tail in tails]
    rows = max(1, -(-len(wanted) // 2))
    drawn, grid = style.panels(
        rows,
        2,
        height,
        wide=len(style.models) > 10,
        legend=legend,
        left=12.0,
        gap_x=13.0,
        gap_y=8.0 if len(tails) > 1 else 12.5,
    )
    panels = []
    for (latent, tail), (axes, _, lowest) in zip(wanted, shown(grid, len(wanted)), strict=True):
        panel_title(axes, LATENT_LABELS.get(latent, latent))
        panels.append((axes, latent, tail, lowest))
    return drawn, panels


def _truth(axes: Axes, table: pd.DataFrame, tail: str, floor: float) -> pd.DataFrame:
    truth = table[(table["model"] == "truth") & (table["panel"] == tail)]
    low = truth["minimum"].clip(lower=floor)
    high = truth["maximum"].clip(lower=floor)
    axes.fill_between(truth["left"], low, high, color=GREY, linewidth=0)
    return truth


def _line(
    axes: Axes, table: pd.DataFrame, model: str, latent: str, tail: str, style: Style
) -> None:
    chosen = (table["model"] == model) & (table["latent"] == latent) & (table["panel"] == tail)
    part = table[chosen]
    axes.plot(
        part["left"],
        part["mean"].where(part["mean"] > 0),
        **style.curve(model),
    )
