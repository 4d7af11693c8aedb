"""What decides, in words: sentences made from the numbers of one experiment.

The question is whether the quality of generated data follows from the model or from the
distribution that its latent samples come from. Nothing here is a foregone conclusion: the sentences
that appear depend on the comparison of the tables.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from t3vae.report.number_format import number
from t3vae.tables.headlines import HEADLINES, select

__all__ = ["GOAL_DISTANCE", "GOAL_MASS", "verdict"]

#: Goal of the fitted distribution: Kolmogorov-Smirnov distance, and relative error of both tail
#: masses.
GOAL_DISTANCE = 0.01
GOAL_MASS = 0.2

_BY_NAME = {headline.name: headline for headline in HEADLINES}
_WORDS = {
    "ks": "Kolmogorov–Smirnov distance to the true distribution",
    "mmd": "unbiased squared maximum mean discrepancy to the test data",
}


def verdict(metrics: pd.DataFrame, mismatch: pd.DataFrame) -> list[str]:
    """Return the sentences for one experiment, a paragraph each; none without the numbers.

    Args:
        metrics: the table ``metrics.csv``, with labels for models.
        mismatch: the table ``latent_mismatch.csv``, likewise.
    """
    for name in ("ks", "mmd"):
        values = _values(metrics, name)
        if {"prior", "fitted"} <= set(values.columns):
            break
    else:
        return []
    both = values[["prior", "fitted"]].dropna()
    if both.empty:
        return []
    paragraphs = [_compare(name, both)]
    if masses := _masses(metrics):
        paragraphs.append(masses)
    text, correlation = _order(values, mismatch)
    paragraphs += [text, _conclusion(both, correlation)] if text else [_conclusion(both, None)]
    if name == "ks":
        paragraphs.append(_goal(metrics, both))
    return paragraphs


def _values(metrics: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return means of a headline: one row a model, one column a latent distribution."""
    rows = select(metrics, _BY_NAME[name]).dropna(subset=["latent"])
    order = [model for model in dict.fromkeys(metrics["model"]) if model in set(rows["model"])]
    return rows.pivot(index="model", columns="latent", values="mean").loc[order]


def _compare(name: str, both: pd.DataFrame) -> str:
    better = int((both["fitted"] < both["prior"]).sum())
    return (
        f"With latent samples from the model prior, the {_WORDS[name]} is {_range(both['prior'])}; "
        f"with samples from the t mixture fitted to the aggregate posterior it is "
        f"{_range(both['fitted'])}. "
        f"The fitted distribution is closer for {better} of {len(both)} models."
    )


def _masses(metrics: pd.DataFrame) -> str | None:
    sentences = []
    for tail in ("left", "right"):
        values = _values(metrics, f"tail_mass_{tail}")
        if {"prior", "fitted"} <= set(values.columns):
            known = values[["prior", "fitted"]].dropna(how="all")
            sentences.append(
                f"The {tail}-tail mass, as a multiple of the true one, is "
                f"{_range(known['prior'])} with the model prior and "
                f"{_range(known['fitted'])} with the fitted distribution."
            )
    return " ".join(sentences) or None


def _order(values: pd.DataFrame, mismatch: pd.DataFrame) -> tuple[str, float | None]:
    """Return the sentence on rank correlation between latent and data distances, and its value."""
    long = values.reset_index().melt(id_vars="model", var_name="latent", value_name="data")
    pairs = long.merge(mismatch[["model", "latent", "mean"]], on=["model", "latent"]).dropna()
    if len(pairs) < 4 or pairs["data"].nunique() < 2 or pairs["mean"].nunique() < 2:
        return "", None
    correlation = float(pairs["data"].rank().corr(pairs["mean"].rank()))
    return (
        f"Over the {len(pairs)} pairs of a model and a latent distribution, the distance of the "
        "latter to the aggregate posterior (in latent space) and the distance of the generated "
        "data to the truth "
        f"have rank correlation {correlation:.2f}.",
        correlation,
    )


def _conclusion(both: pd.DataFrame, correlation: float | None) -> str:
    worse = [
        model for model in both.index if not both.loc[model, "fitted"] < both.loc[model, "prior"]
    ]
    if not worse and (correlation is None or correlation > 0.5):
        return (
            "So what decides is the mismatch between the latent distribution and the aggregate "
            "posterior: drawing from a distribution that matches it improves every model, "
            "whatever its prior."
        )
    if len(worse) < len(both) / 2:
        exceptions = f" Not so for {_names(worse)}." if worse else ""
        return (
            "For most models a latent distribution that matches the aggregate posterior brings the "
            "generated data closer to the truth: there the mismatch of the prior decides."
            f"{exceptions}"
        )
    return (
        "Here the mismatch between the prior and the aggregate posterior does not decide: a "
        "distribution fitted to the aggregate posterior is not closer for most models."
    )


def _goal(metrics: pd.DataFrame, both: pd.DataFrame) -> str:
    left, right = (_values(metrics, f"tail_mass_{tail}") for tail in ("left", "right"))
    missed, unknown = [], []
    for model in both.index:
        masses = [
            float(table["fitted"].get(model, float("nan"))) if "fitted" in table else float("nan")
            for table in (left, right)
        ]
        if any(map(math.isnan, masses)):
            unknown.append(model)
            continue
        near = all(abs(mass - 1.0) <= GOAL_MASS for mass in masses)
        if not (both.loc[model, "fitted"] <= GOAL_DISTANCE and near):
            missed.append(model)
    reached = len(both) - len(missed) - len(unknown)
    text = (
        f"Goal for the fitted distribution: distance at most {GOAL_DISTANCE:g} and both tail "
        f"masses within {100 * GOAL_MASS:g} % of the truth. "
        f"Reached by {reached} of {len(both)} models"
    )
    text += f"; missed by {_names(missed)}" if missed else ""
    text += f"; without a tail mass: {_names(unknown)}" if unknown else ""
    return f"{text}."


def _range(values: pd.Series) -> str:
    known = {str(model): float(value) for model, value in values.dropna().items()}
    if not known:
        return "without a value"
    low, high = min(known, key=known.__getitem__), max(known, key=known.__getitem__)
    if known[low] == known[high]:
        return f"{number(known[low])} ({low})"
    ends = [f"{number(known[model])} ({model})" for model in (low, high)]
    return f"between {ends[0]} and {ends[1]}"


def _names(models: Sequence[object]) -> str:
    return "; ".join(map(str, models))
