"""One value a class against its frequency, and one value a face attribute."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from t3vae.figures.labels import LAW_SHORT, model_label
from t3vae.figures.style import Style, log_axis, model_handle, panel_title
from t3vae.metrics.labels import METRICS

__all__ = ["attributes", "per_class"]

_PANELS = (
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
_ROW_MM = 3.4


def per_class(tables: Mapping[str, pd.DataFrame], style: Style) -> Figure:
    """Draw metrics of single classes against the number of their training pictures.

    Args:
        tables: ``per_class.csv``.
        style: sizes, colours and models.
    """
    table = tables["per_class.csv"]
    panels = _present(table, _PANELS)
    legend = [model_handle(model, style) for model in _models(table, style)]
    wide = True
    columns = min(3, max(1, len(panels)))
    rows = max(1, -(-len(panels) // columns))
    drawn, grid = style.panels(
        rows, columns, 36.0, wide=wide, legend=legend, left=11.0, gap_x=11.0, gap_y=10.0
    )
    for i, axes in enumerate(grid.flat):
        if i >= len(panels):
            axes.set_visible(False)
            continue
        metric, law = panels[i]
        part = table[(table["metric"] == metric) & (table["latent"] == law)]
        for model in style.models:
            own = part[part["model"] == model].sort_values("frequency")
            if own.empty:
                continue
            colour = style.colour(model)
            ends = own.dropna(subset=["ci_low", "ci_high"])
            axes.fill_between(
                ends["frequency"],
                ends["ci_low"],
                ends["ci_high"],
                color=colour,
                alpha=0.1,
                linewidth=0,
            )
            axes.plot(
                own["frequency"],
                own["mean"],
                color=colour,
                linestyle=style.dashes(model),
                linewidth=0.8 * style.line_width,
                marker="o",
                markersize=1.6,
                markeredgewidth=0,
            )
        _frequency_axis(axes, part)
        _limits(axes, part)
        panel_title(axes, f"{_short_label(metric)}, {LAW_SHORT.get(law, law)}")
    for i in range(max(0, len(panels) - columns), len(panels)):
        grid.flat[i].set_xlabel("training pictures of the class")
    return drawn


def attributes(tables: Mapping[str, pd.DataFrame], style: Style) -> Figure:
    """Draw metrics of pictures with each attribute, the rarest attribute first.

    Args:
        tables: ``attributes.csv``.
        style: sizes, colours and models.
    """
    table = tables["attributes.csv"]
    panels = _present(
        table,
        tuple(
            (m, "reconstruction")
            for m in ("reconstruction_error", "fid", "frechet_distance_classifier", "kid")
        ),
    )[:3]
    order = table.drop_duplicates("name").sort_values(["frequency", "name"])
    names = list(order["name"])
    texts = [
        f"{name.replace('_', ' ')} ({100 * share:.0f} %)"
        for name, share in zip(names, order["frequency"], strict=True)
    ]
    legend = [
        (
            Line2D([], [], color=style.colour(m), marker="o", markersize=3, linestyle="none"),
            model_label(m),
        )
        for m in _models(table, style)
    ]
    drawn, grid = style.panels(
        1,
        max(1, len(panels)),
        _ROW_MM * max(len(names), 3),
        wide=True,
        legend=legend,
        left=4.0 + 1.5 * max(map(len, texts), default=4),
        bottom=5.0,
        gap_x=5.0,
    )
    for i, axes in enumerate(grid[0]):
        if i >= len(panels):
            axes.set_visible(False)
            continue
        metric, law = panels[i]
        part = table[(table["metric"] == metric) & (table["latent"] == law)]
        for model in style.models:
            own = part[part["model"] == model].set_index("name")
            for y, name in enumerate(names):
                if name not in own.index:
                    continue
                row = own.loc[name]
                if not (pd.isna(row["ci_low"]) or pd.isna(row["ci_high"])):
                    axes.plot(
                        [row["ci_low"], row["ci_high"]],
                        [y, y],
                        color=style.colour(model),
                        linewidth=0.6,
                    )
                axes.plot(
                    row["mean"],
                    y,
                    "o",
                    color=style.colour(model),
                    markersize=2.2,
                    markeredgewidth=0,
                )
        for y in range(0, len(names), 2):
            axes.axhspan(y - 0.5, y + 0.5, color="#F3F3F3", linewidth=0, zorder=0)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_yticks(range(len(names)), texts if i == 0 else [""] * len(names))
        axes.tick_params(axis="y", length=0)
        panel_title(axes, _short_label(metric))
    return drawn


def _present(table: pd.DataFrame, panels: tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
    known = set(zip(table["metric"], table["latent"], strict=True))
    return [panel for panel in panels if panel in known]


def _models(table: pd.DataFrame, style: Style) -> list[str]:
    return [model for model in style.models if model in set(table["model"])]


def _short_label(metric: str) -> str:
    short = {
        "reconstruction_error": "error",
        "frechet_distance_classifier": "Fréchet (classifier)",
        "class_f1": "F1",
        "class_mass": "share",
    }
    return short.get(metric, METRICS[metric].label)


def _frequency_axis(axes: Axes, part: pd.DataFrame) -> None:
    low, high = float(part["frequency"].min()), float(part["frequency"].max())
    if low > 0 and high > 2 * low:
        axes.set_xlim(low / 1.1, high * 1.1)
        log_axis(axes, "x", dense=high < 30 * low)


def _limits(axes: Axes, part: pd.DataFrame) -> None:
    """Let the means fill the panel; intervals of three seeds may go beyond it."""
    low, high = float(part["mean"].min()), float(part["mean"].max())
    if low > 0 and high > 12 * low:
        axes.set_ylim(low / 1.3, high * 1.3)
        log_axis(axes, "y")
        return
    margin = 0.12 * (high - low) or 0.1 * abs(high) or 0.1
    axes.set_ylim(low - margin, high + margin)
