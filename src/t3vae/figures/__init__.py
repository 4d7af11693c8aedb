"""Figures: each reads tables and returns an image; none trains, samples or evaluates."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

__all__ = ["REGISTRY", "caption"]

REGISTRY = {
    "density": "t3vae.figures.density_panels:density",
    "density_log": "t3vae.figures.density_panels:density_log",
    "survival": "t3vae.figures.tails:survival",
    "tail_qq": "t3vae.figures.tails:tail_qq",
    "heatmaps": "t3vae.figures.heatmaps:heatmaps",
    "metrics": "t3vae.figures.metric_panel:metrics",
    "history": "t3vae.figures.history:history",
    "aggregate": "t3vae.figures.aggregate:aggregate",
    "samples": "t3vae.figures.image_grids:samples",
    "reconstructions": "t3vae.figures.image_grids:reconstructions",
    "paired": "t3vae.figures.paired:paired",
    "per_class": "t3vae.figures.class_heatmaps:per_class",
    "class_curves": "t3vae.figures.class_curves:class_curves",
    "attributes": "t3vae.figures.class_heatmaps:attributes",
    "regularizer": "t3vae.figures.theory:regularizer",
    "tau_alpha": "t3vae.figures.theory:tau_alpha",
    "high_dimension": "t3vae.figures.theory:high_dimension",
}


@cache
def caption(name: str) -> str:
    """Return the caption of a figure, one paragraph of plain text.

    Example:
        >>> caption("history").startswith("Training")
        True
    """
    text = files("t3vae.figures").joinpath("captions", f"{name}.txt").read_text("utf-8")
    return " ".join(text.split())
