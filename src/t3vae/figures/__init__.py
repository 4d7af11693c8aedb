"""Figures: each reads tables and returns a picture; none trains, samples or evaluates."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

__all__ = ["REGISTRY", "caption"]

REGISTRY = {
    "density": "t3vae.figures.densities:density",
    "density_log": "t3vae.figures.densities:density_log",
    "survival": "t3vae.figures.tails:survival",
    "tail_qq": "t3vae.figures.tails:tail_qq",
    "heatmaps": "t3vae.figures.heatmaps:heatmaps",
    "metrics": "t3vae.figures.metrics:metrics",
    "history": "t3vae.figures.history:history",
    "aggregate": "t3vae.figures.aggregate:aggregate",
    "samples": "t3vae.figures.pictures:samples",
    "reconstructions": "t3vae.figures.pictures:reconstructions",
    "paired": "t3vae.figures.paired:paired",
    "per_class": "t3vae.figures.each:per_class",
    "class_curves": "t3vae.figures.curves:class_curves",
    "attributes": "t3vae.figures.each:attributes",
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
