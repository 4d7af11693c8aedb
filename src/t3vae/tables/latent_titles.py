"""Texts for latent distributions, shared by figures and the report."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = [
    "LATENTS",
    "LATENT_LABELS",
    "LATENT_SHORT",
    "used_latents",
]

LATENTS = ("prior", "alternative", "fitted", "reconstruction")
LATENT_LABELS = {
    "prior": "model prior",
    "alternative": "alternative prior p*",
    "fitted": "fitted distribution",
    "reconstruction": "reconstructions",
    "truth": "true distribution",
    "aggregate": "aggregate posterior",
}
#: Where space is short.
LATENT_SHORT = {
    "prior": "model prior",
    "alternative": "prior p*",
    "fitted": "fitted distribution",
}
LATENT_SHORT["reconstruction"] = "reconstructions"


def used_latents(names: Sequence[str]) -> list[str]:
    """Return the latent distributions that occur, in the fixed order, unknown ones last."""
    found = [latent for latent in LATENTS if latent in names]
    return found + sorted(set(names) - set(LATENTS))
