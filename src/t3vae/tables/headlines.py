"""Which of the many metrics are shown first: panels of figures, columns of the report.

A headline picks one group of one metric. The first pattern that any row matches wins, so
that univariate and bivariate experiments share one list.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

import pandas as pd

__all__ = ["HEADLINES", "SUMMARY", "Headline", "select", "summary"]


@dataclass(frozen=True)
class Headline:
    """One headline number.

    Attributes:
        name: short name, also the key in the per-model summary.
        metric: name of the metric.
        groups: patterns of its group, the best first.
        label: text of an axis or column.
        scale: ``linear``, ``log`` or ``symlog``.
        ideal: the value of a perfect model, or None.
        reference: metric whose mean (same group, no latent distribution) is the ideal value.
        reconstructed: only of reconstructions, not of samples and not without a distribution.
    """

    name: str
    metric: str
    groups: tuple[str, ...]
    label: str
    scale: str = "linear"
    ideal: float | None = None
    reference: str | None = None
    reconstructed: bool = False


HEADLINES: tuple[Headline, ...] = (
    Headline("ks", "ks", ("all",), "KS distance", "log"),
    Headline("mmd", "mmd", ("all",), "MMD² (unbiased)", "symlog", 0.0),
    Headline("mmd_linear", "mmd_linear", ("all",), "MMD² (linear-time)", "symlog", 0.0),
    Headline("ksd", "ksd", ("all",), "KSD²", "symlog", 0.0),
    Headline(
        "tail_mass_left",
        "tail_mass_ratio",
        ("left_tail",),
        "left-tail mass ratio",
        "log",
        1.0,
    ),
    Headline(
        "tail_mass_right",
        "tail_mass_ratio",
        ("right_tail",),
        "right-tail mass ratio",
        "log",
        1.0,
    ),
    Headline(
        "quantile_left",
        "tail_quantile_error",
        ("p=0.0001",),
        "quantile error 0.01 %",
        "log",
    ),
    Headline(
        "quantile_right",
        "tail_quantile_error",
        ("p=0.9999", "norm:p=0.9999"),
        "quantile error 99.99 %",
        "log",
    ),
    Headline(
        "hill_left",
        "hill",
        ("left_tail:*",),
        "Hill index, left tail",
        "linear",
        None,
        "hill_reference",
    ),
    Headline(
        "hill_right",
        "hill",
        ("right_tail:*", "norm:*"),
        "Hill index, right tail",
        "linear",
        None,
        "hill_reference",
    ),
    Headline(
        "shortfall_right",
        "expected_shortfall",
        ("right_tail:p=0.001", "norm:p=0.001"),
        "shortfall error 0.1 %",
        "log",
    ),
    Headline(
        "log_likelihood",
        "log_likelihood",
        ("all",),
        "log-likelihood (nats)",
        "linear",
        None,
        "log_likelihood_true",
    ),
    Headline(
        "reconstruction_error",
        "reconstruction_error",
        ("all",),
        "reconstruction error",
        reconstructed=True,
    ),
    Headline("fid", "fid", ("all",), "FID"),
    Headline("frechet", "frechet_distance_classifier", ("all",), "Fréchet (classifier)", "log"),
    Headline("frechet_tail", "frechet_distance_classifier", ("tail",), "Fréchet, tail", "log"),
    Headline("kid", "kid", ("all",), "KID", "symlog", 0.0),
    Headline("precision", "precision", ("all",), "precision"),
    Headline("recall", "recall", ("all",), "recall"),
    Headline("density", "density", ("all",), "density"),
    Headline("coverage", "coverage", ("all",), "coverage"),
    Headline("class_f1", "class_f1", ("all",), "F1 of the class"),
    Headline("class_mass_tail", "class_mass", ("tail",), "share, tail classes"),
    Headline("active_units", "active_units", ("all",), "active latent units"),
    Headline("latent_radius", "latent_radius", ("all",), "radius ratio", "log", 1.0),
)

#: Columns of `dvc metrics show`: (short name, headline). One row a model and at most five columns
#: for all kinds of data, so that a row fits a terminal.
SUMMARY: tuple[tuple[str, str], ...] = (
    ("ks", "ks"),
    ("tail", "tail_mass_right"),
    ("loglik", "log_likelihood"),
    ("frechet", "frechet"),
    ("recon", "reconstruction_error"),
)


def select(metrics: pd.DataFrame, headline: Headline) -> pd.DataFrame:
    """Return the rows of one headline, with the column ``ideal``; empty if there are none.

    Where a pattern matches several groups (a path over k), the one in the middle is taken.

    Args:
        metrics: the table ``metrics.csv``.
        headline: what to pick.
    """
    rows = metrics[metrics["metric"] == headline.metric]
    if headline.reconstructed:
        rows = rows[rows["latent"] == "reconstruction"]
    groups = list(dict.fromkeys(rows["group"]))
    for pattern in headline.groups:
        found = sorted((g for g in groups if fnmatchcase(g, pattern)), key=_order)
        if found:
            group = found[len(found) // 2]
            rows = rows[rows["group"] == group].copy()
            rows["ideal"] = _ideal(metrics, headline, group)
            return rows
    return rows.iloc[:0].assign(ideal=None)


def _order(group: str) -> float:
    try:
        return float(group.rpartition("=")[2])
    except ValueError:
        return 0.0


def _ideal(metrics: pd.DataFrame, headline: Headline, group: str) -> float | None:
    if headline.reference is None:
        return headline.ideal
    rows = metrics[(metrics["metric"] == headline.reference) & (metrics["group"] == group)]
    values = rows["mean"].dropna()
    return float(values.mean()) if len(values) else None


def summary(metrics: pd.DataFrame, model: str) -> dict[str, float]:
    """Return the numbers of one model for ``dvc metrics``, means over seeds; missing ones omitted.

    They are of samples from the fitted latent distribution, or from the prior where none was
    fitted; the reconstruction error is of reconstructions. Five digits, as DVC shows.
    """
    by_name = {headline.name: headline for headline in HEADLINES}
    found: dict[str, float] = {}
    for key, name in SUMMARY:
        rows = select(metrics, by_name[name])
        means = rows[rows["model"] == model].set_index("latent")["mean"]
        latents = [name for name in ("fitted", "prior", "reconstruction") if name in means.index]
        if latents and not pd.isna(means[latents[0]]):
            found[key] = float(f"{float(means[latents[0]]):.5g}")
    return found
