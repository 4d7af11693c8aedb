"""Tables: small CSV files with the numbers behind every figure and statement.

This module only names files, so that a rule can ask for them; it imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from t3vae.settings.figures import FIGURES

__all__ = ["names", "outputs", "reads"]

#: Tables that every experiment with models has, whatever figures it lists.
ALWAYS = ("metrics.csv", "paired.csv", "missing.csv", "runs.csv", "latent_mismatch.csv")


def reads(figure: str) -> list[str]:
    """Return the names of the tables that a figure reads; none for an unknown figure.

    Example:
        >>> reads("survival")
        ['survival.csv']
    """
    return list(FIGURES[figure].tables) if figure in FIGURES else []


def names(config: Mapping[str, Any]) -> list[str]:
    """Return the names of the CSV files that ``collect`` writes for one experiment, sorted.

    Args:
        config: the resolved configuration of the job: ``models`` and ``figures`` count.

    Example:
        >>> names({"figures": ["tau_alpha"]})
        ['tau_alpha.csv']
    """
    wanted = set(ALWAYS) if config.get("models") else set()
    for figure in config.get("figures") or ():
        wanted.update(reads(figure))
    return sorted(wanted)


def outputs(config: Mapping[str, Any]) -> list[str]:
    """Return every file that ``collect`` writes below the experiment's table folder.

    Example:
        >>> outputs({"figures": ["tau_alpha"]})
        ['tau_alpha.csv', 'provenance.json']
    """
    return [*names(config), "provenance.json"]
