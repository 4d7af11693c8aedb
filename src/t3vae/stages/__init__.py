"""One function for each verb of the command line; rules and people call the same ones.

What a step does for images only lies in a module of its own, loaded by name, so that
results on numbers do not depend on it.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["REGISTRY", "part"]

REGISTRY = {
    "evaluate_images": "t3vae.stages.evaluate_images:entries",
    "collect_images": "t3vae.tables.image_tables:ImageTables",
}


def part(name: str) -> Any:
    """Return the part of a step that :data:`REGISTRY` names."""
    module, _, attribute = REGISTRY[name].partition(":")
    return getattr(import_module(module), attribute)
