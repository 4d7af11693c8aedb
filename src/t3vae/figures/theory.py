"""Theory: the regularizer, the alternative prior's scale and weight, high dimension."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from t3vae.figures.axes import log_axis, panel_title
from t3vae.figures.style import Style

__all__ = ["high_dimension", "regularizer", "tau_alpha"]


def _ramp(count: int) -> list[str]:
    """Return colours of an ordered quantity, dark to light, safe for the colour-blind."""
    colours = mpl.colormaps["viridis"](np.linspace(0.0, 0.86, max(count, 2)))
    return [to_hex(c) for c in colours][:count]


def regularizer(tables: Mapping[str, pd.DataFrame], style: Style) -> Figure:
    """Draw the regularizer at mu = 0 against the encoder's variance, with its Gaussian limit.

    From ``regularizer.csv``.
    """
    table = tables["regularizer.csv"]
    drawn, grid = style.panels(1, 1, 48.0, left=12.0, right=20.0)
    axes = grid[0, 0]
    right, top = table["variance"].max(), 2.0
    axes.set_xlim(0, right)
    axes.set_ylim(0, top)
    finite = sorted(nu for nu in table["nu"].unique() if nu > 0)
    beside: list[tuple[float, str, str]] = []
    for nu, colour in zip([*finite, 0.0], [*_ramp(len(finite)), "black"], strict=True):
        part = table[table["nu"] == nu]
        text = f"ν = {nu:g}" if nu else "2 KL (ν → ∞)"
        axes.plot(
            part["variance"],
            part["regularizer"],
            color=colour,
            linestyle="-" if nu else (0, (4, 1.5)),
        )
        lowest = part["regularizer"].to_numpy().argmin()
        if 0 < lowest < len(part) - 1:
            where = part["variance"].iloc[lowest]
            axes.plot(where, 0.0, marker="o", markersize=3, color=colour, clip_on=False)
        last = part["regularizer"].iloc[-1]
        if last <= top:
            beside.append((last, text, colour))
        else:
            leaves = part.loc[part["regularizer"] <= top, "variance"].max()
            axes.annotate(text, (leaves, top), (0, 2), textcoords="offset points", color=colour)
    _labels(axes, beside, 1.5 * style.font_size / 72 * 25.4 * top / 48.0)
    axes.set_xlabel("encoder variance Σ")
    axes.set_ylabel("regularizer at μ = 0 (2 × nats)")
    return drawn


def _labels(axes: Axes, labels: list[tuple[float, str, str]], gap: float) -> None:
    """Write labels to the right of the axes, at least ``gap`` apart."""
    place = -np.inf
    for value, text, colour in sorted(labels):
        place = max(value, place + gap)
        axes.annotate(
            text,
            (1.02, place),
            xycoords=("axes fraction", "data"),
            color=colour,
            va="center",
            annotation_clip=False,
        )


def tau_alpha(tables: Mapping[str, pd.DataFrame], style: Style) -> Figure:
    """Draw tau and alpha against nu - 2, a curve a data dimension, from ``tau_alpha.csv``."""
    table = tables["tau_alpha.csv"]
    drawn, grid = style.panels(2, 1, 34.0, right=3.0)
    dims = sorted(table["data_dim"].unique())
    names = {"tau": "scale τ of the alternative prior", "alpha": "weight α of the divergence"}
    for axes, (column, title) in zip(grid[:, 0], names.items(), strict=True):
        for n, colour in zip(dims, _ramp(len(dims)), strict=True):
            part = table[table["data_dim"] == n]
            axes.plot(part["nu_minus_two"], part[column], color=colour, label=f"n = {n:.0f}")
        axes.set_xlim(table["nu_minus_two"].min(), table["nu_minus_two"].max())
        axes.set_ylim(0, 1.05)
        log_axis(axes, "x")
        panel_title(axes, title)
        axes.set_ylabel("τ" if column == "tau" else "α")
    grid[-1, 0].set_xlabel("ν − 2 (degrees of freedom above 2)")
    grid[0, 0].tick_params(labelbottom=False)
    grid[0, 0].legend(loc="upper left", ncols=1)
    return drawn


def high_dimension(tables: Mapping[str, pd.DataFrame], style: Style) -> Figure:
    """Draw tau^2, v* and alpha against the data dimension, with their common limit.

    From ``high_dimension.csv``.
    """
    table = tables["high_dimension.csv"]
    values = sorted(table["nu"].unique())
    limit = float(table["limit"].iloc[0])
    lines: list[tuple[str, str, Any]] = [
        (c, f"ν = {nu:g}", "-") for c, nu in zip(_ramp(len(values)), values, strict=True)
    ]
    lines.append(("black", f"limit {limit:.4g}", (0, (4, 1.5))))
    legend = [(Line2D([], [], color=c, linestyle=dashes), text) for c, text, dashes in lines]
    drawn, grid = style.panels(3, 1, 29.0, legend=legend, left=12.0, right=3.0)
    names = {
        "tau_sq": "squared scale τ² of the alternative prior",
        "v_star": "variance v* of the alternative prior",
        "alpha": "weight α of the divergence",
    }
    for axes, (column, title) in zip(grid[:, 0], names.items(), strict=True):
        for nu, colour in zip(values, _ramp(len(values)), strict=True):
            part = table[table["nu"] == nu]
            axes.plot(part["data_dim"], part[column], color=colour)
        axes.axhline(
            limit, color="black", linestyle=(0, (4, 1.5)), label=f"1/(2πeσ²) = {limit:.4g}"
        )
        axes.set_xlim(table["data_dim"].min(), table["data_dim"].max())
        log_axis(axes, "x")
        axes.set_yscale("log")
        axes.set_ylim(table[column].min() / 1.2, table[column].max() * 1.3)
        log_axis(axes, "y")
        panel_title(axes, title)
        axes.set_ylabel({"tau_sq": "τ²", "v_star": "v*", "alpha": "α"}[column])
        axes.tick_params(labelbottom=column == "alpha")
    grid[-1, 0].set_xlabel("data dimension n")
    drawn.align_ylabels(grid[:, 0])
    return drawn
