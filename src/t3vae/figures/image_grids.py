"""Grids of images: the same test images reconstructed by all models, and generated ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.image import BboxImage
from matplotlib.transforms import Bbox, TransformedBbox

from t3vae.figures.style import Style
from t3vae.tables.image_tables import decode
from t3vae.tables.latent_titles import LATENT_SHORT

__all__ = ["reconstructions", "samples"]

GAP, BREAK = 0.25, 2.2  # millimetres between images, and between blocks
LARGEST = 11.0  # millimetres


def reconstructions(tables: Mapping[str, pd.DataFrame], style: Style) -> Figure:
    """Draw test images by group, and below them what each model makes of them.

    From ``reconstructions.csv``.
    """
    table = tables["reconstructions.csv"].fillna({"model": ""})
    blocks = [(None, group, "") for group in _groups(table)]
    return _grid(table, ["", *style.models], blocks, style)


def samples(tables: Mapping[str, pd.DataFrame], style: Style) -> Figure:
    """Draw generated images by group: from the model's own latent distribution, and the fitted one.

    From ``samples.csv``.
    """
    table = tables["samples.csv"]
    table = table.assign(own=np.where(table["latent"] == "fitted", "fitted", "own"))
    present = [own for own in ("own", "fitted") if own in set(table["own"])]
    names = {"own": "model\u2019s distribution", "fitted": LATENT_SHORT["fitted"]}
    blocks = [(own, group, names[own]) for own in present for group in _groups(table)]
    return _grid(table, list(style.models), blocks, style)


def _groups(table: pd.DataFrame) -> list[str]:
    """Return the groups in their order: from many training images to few."""
    known = ["head", "medium", "tail"]
    found = list(dict.fromkeys(table["group"]))
    return [g for g in known if g in found] + [g for g in found if g not in known]


def _grid(
    table: pd.DataFrame,
    models: Sequence[str],
    blocks: Sequence[tuple[str | None, str, str]],
    style: Style,
) -> Figure:
    """Draw one row a model, one block of columns for each (latent, group, name)."""
    models = [m for m in models if m in set(table["model"])]
    widest = {
        (own, group): int(_part(table, own, group)["position"].max()) + 1
        for own, group, _ in blocks
        if len(_part(table, own, group))
    }
    blocks = [block for block in blocks if block[:2] in widest]
    unit = style.font_size / 7.5
    labels = [style.label(m) if m else "test image" for m in models]
    left = unit * (2.5 + 1.55 * max(map(len, labels)))
    across = sum(widest.values())
    room = style.page_width_mm - left - 2.0 - BREAK * (len(blocks) - 1) - GAP * across
    size = min(LARGEST, room / across)
    width = left + 2.0 + across * (size + GAP) + BREAK * (len(blocks) - 1)
    top = unit * (8.8 if any(name for *_, name in blocks) else 5.0)
    height = top + len(models) * (size + GAP) + 2.0
    width = max(width, 60.0)
    drawn = Figure(figsize=(width / 25.4, height / 25.4))
    FigureCanvasAgg(drawn)
    x, above = left, ""
    for own, group, latent in blocks:
        part = _part(table, own, group)
        share = widest[own, group] * (size + GAP)
        text = _short(group, share, unit)
        drawn.text(x / width, 1 - (top - unit * 1.6) / height, text, fontsize=style.font_size)
        if latent != above:
            drawn.text(x / width, 1 - unit * 3.4 / height, latent, fontsize=style.font_size)
            above = latent
        for i, model in enumerate(models):
            y = height - top - (i + 1) * (size + GAP)
            for record in part[part["model"] == model].to_dict("records"):
                row = {str(name): value for name, value in record.items()}
                place = x + int(row["position"]) * (size + GAP)
                edges = Bbox.from_bounds(place / width, y / height, size / width, size / height)
                shown = BboxImage(TransformedBbox(edges, drawn.transFigure), **_look(row))
                shown.set_data(_image(row))
                drawn.add_artist(shown)  # axes of its own would take ten times as long
        x += share + BREAK
    for i, label in enumerate(labels):
        y = height - top - (i + 0.5) * (size + GAP)
        drawn.text(
            (left - 1.2) / width,
            y / height,
            label,
            ha="right",
            va="center",
            fontsize=style.font_size,
        )
    return drawn


def _part(table: pd.DataFrame, own: str | None, group: str) -> pd.DataFrame:
    rows = table[table["group"] == group]
    return rows if own is None else rows[rows["own"] == own]


def _short(title: str, room: float, unit: float) -> str:
    """Return a title that fits into some millimetres."""
    title = title.replace("attribute:", "").replace("_", " ")
    return title[: max(3, int(room / (1.5 * unit)))]


def _image(row: Mapping[str, Any]) -> np.ndarray:
    shape = [int(row[name]) for name in ("channels", "height", "width")]
    image = decode(str(row["pixels"]), shape)
    return image[0] if shape[0] == 1 else image.transpose(1, 2, 0)


def _look(row: Mapping[str, Any]) -> dict[str, Any]:
    grey = {"cmap": "gray", "norm": Normalize(0, 255)} if int(row["channels"]) == 1 else {}
    return {"interpolation": "nearest", **grey}
