"""Looks of models by name, for figures that are drawn without the workflow."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from t3vae.settings import parameters
from t3vae.settings.looks import looks


@cache
def _known() -> dict[str, Any]:
    models = parameters.load(Path(__file__).parents[1] / "params.yaml").models
    return {name: model.model_dump(mode="json") for name, model in models.items()}


def of(models: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return the looks of models of params.yaml; an unknown one is a family of its own."""
    return looks({model: _known().get(model, {"family": model}) for model in models})


def label_of(model: str) -> str:
    """Return how a model of params.yaml is called."""
    return of([model])[model]["label"]
