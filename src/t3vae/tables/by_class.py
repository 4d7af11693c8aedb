"""Tables of single classes and attributes: a line for each model, latent distribution and class.

All metrics of a class stand beside each other in its line, since a hundred classes of two
dozen models would else fill megabytes with names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from t3vae.metrics.summary import summarise
from t3vae.tables.csv_files import frame, significant

__all__ = ["EACH", "columns", "each"]

EACH = {
    "per_class.csv": (
        "class:",
        ("reconstruction_error", "frechet_distance_classifier", "fid", "class_f1", "class_mass"),
    ),
    "attributes.csv": (
        "attribute:",
        ("reconstruction_error", "frechet_distance_classifier", "fid", "kid"),
    ),
}
"""Prefix of the group, and the metrics of each table."""

KEYS = ("model", "latent", "group", "name", "frequency", "n")
DIGITS = 4  # of a value; its interval has one less


def columns(table: str) -> list[str]:
    """Return the columns of a table.

    ``n`` is the smallest number of images of the class over seeds. A metric ``x`` has its
    mean over seeds in ``x``, half the width of the 95 % interval in ``x_half``, the number of
    seeds with a value in ``x_seeds``; ``x_few`` is 1 where a value carries a warning, which
    a Frechet distance does below twice as many images as features.

    Args:
        table: ``per_class.csv`` or ``attributes.csv``.

    Example:
        >>> columns("attributes.csv")[6:9]
        ['reconstruction_error', 'reconstruction_error_half', 'reconstruction_error_seeds']
    """
    found = list(KEYS)
    for metric in EACH[table][1]:
        found += [metric, f"{metric}_half", f"{metric}_seeds"]
        if metric in ("frechet_distance_classifier", "fid"):
            found.append(f"{metric}_few")
    return found


def each(
    table: str,
    entries: Iterable[Mapping[str, Any]],
    manifest: Mapping[str, Any],
    attributes: NDArray[Any] | None,
) -> pd.DataFrame:
    """Return one of the tables.

    Args:
        table: its name.
        entries: entries of all runs, each with ``model`` and ``seed``.
        manifest: manifest of the data set: classes with their counts, or attributes.
        attributes: attributes of test images, [N, A].
    """
    prefix, metrics = EACH[table]
    kept = [e for e in entries if e["group"].startswith(prefix) and e["name"] in metrics]
    lines: dict[tuple[str, str, str], dict[str, Any]] = {}
    for row in summarise(kept):
        if row["mean"] is None:
            continue
        place = row["model"], row["latent"], row["group"]
        line = lines.setdefault(place, dict(zip(KEYS, place, strict=False)))
        metric = row["metric"]
        line[metric], line[f"{metric}_seeds"] = significant(row["mean"], DIGITS), row["seeds"]
        if row["ci_high"] is not None:
            half = 0.5 * (row["ci_high"] - row["ci_low"])
            line[f"{metric}_half"] = significant(half, DIGITS - 1)
        line[f"{metric}_few"] = 1 if row["flag"] else None
        if metric != "class_mass" and row["n"] is not None:  # which counts images of all classes
            line["n"] = min(row["n"], line.get("n", row["n"]))
    for line in lines.values():
        key = line["group"].removeprefix(prefix)
        line["name"], line["frequency"] = _member(prefix, key, manifest, attributes)
    found = frame(lines.values(), columns(table))
    whole = [c for c in found.columns if c == "n" or c.endswith(("_seeds", "_few"))]
    return found.astype(dict.fromkeys(whole, "Int64"))


def _member(
    prefix: str, key: str, manifest: Mapping[str, Any], attributes: NDArray[Any] | None
) -> tuple[str, float]:
    """Return name and frequency: training images of a class, test share of an attribute."""
    if prefix == "class:":
        counts = manifest["class_counts"]["train"]
        return str(manifest["classes"][int(key)]), float(counts[int(key)])
    names = list(manifest["attributes"])
    lacking = key.startswith("not_") and key not in names
    column = names.index(key.removeprefix("not_"))
    share = 0.0 if attributes is None else float(np.mean(attributes[:, column]))
    return key, significant(1.0 - share if lacking else share)
