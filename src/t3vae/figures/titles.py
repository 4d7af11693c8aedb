"""Texts for models and latent distributions, shared by figures and the report."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = [
    "LATENTS",
    "LATENT_LABELS",
    "LATENT_SHORT",
    "model_label",
    "stem",
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
# Longest stem first.
_STEMS = (
    ("student_t_vae", "Student-t VAE"),
    ("beta_vae_matched_scaled", "β-VAE matched, scaled"),
    ("beta_vae_matched", "β-VAE matched"),
    ("beta_vae", "β-VAE"),
    ("t3hvae", "t³HVAE"),
    ("c_t3vae", "C-t³VAE"),
    ("t3vae", "t³VAE"),
    ("gaussian_twin", "Gaussian twin"),
    ("de_vae", "DE-VAE"),
    ("vae_st", "VAE-st"),
    ("tilted_vae", "tilted VAE"),
    ("factor_vae", "FactorVAE"),
    ("hvae", "HVAE"),
    ("c_vae", "C-VAE"),
    ("vae", "VAE"),
)
_SYMBOLS = {"nu": "ν", "w": "w", "beta": "β", "tau": "τ", "k": "k", "scale": "k"}


def model_label(name: str) -> str:
    """Return the text for a model, made from its name in the parameters.

    Example:
        >>> model_label("t3vae_nu9"), model_label("beta_vae_0p5"), model_label("own_model")
        ('t³VAE, ν = 9', 'β-VAE, 0.5', 'own_model')
    """
    start, label = stem(name)
    rest = name[len(start) :].strip("_")
    if not start or not rest:
        return label
    parts = []
    for piece in rest.split("_"):
        match = re.fullmatch(r"([a-z]*)(\d[\dp]*)", piece)
        if match is None:
            parts.append(piece)
            continue
        symbol, number = _SYMBOLS.get(match[1], match[1]), match[2].replace("p", ".")
        parts.append(f"{symbol} = {number}" if symbol else number)
    return ", ".join([label, *parts])


def stem(name: str) -> tuple[str, str]:
    """Return stem and label of a model's name; an unknown one stands for itself.

    Example:
        >>> stem("t3vae_nu9")
        ('t3vae', 't³VAE')
    """
    for start, label in _STEMS:
        if name == start or name.startswith(start + "_"):
            return start, label
    return "", name


def used_latents(names: Sequence[str]) -> list[str]:
    """Return the latent distributions that occur, in the fixed order, unknown ones last."""
    found = [latent for latent in LATENTS if latent in names]
    return found + sorted(set(names) - set(LATENTS))
