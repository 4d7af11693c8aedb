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
        label: text of an axis or column.
        scale: ``linear``, ``log`` or ``symlog``.
        ideal: the value of a perfect model; None for that of the true sample, where there is one.
        groups: patterns of its group, the best first.
    """

    name: str
    metric: str
    label: str
    scale: str = "linear"
    ideal: float | None = None
    groups: tuple[str, ...] = ("all",)

    def rows(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of the metric; an error of reconstructions is of these alone."""
        rows = table[table["metric"] == self.metric]
        if self.metric == "reconstruction_error":
            rows = rows[rows["latent"] == "reconstruction"]
        return rows


#: Endings of the metrics whose mean over the true sample is the ideal value.
TRUE_SAMPLE = ("reference", "true")
_TAIL, _QUANTILE = "tail_mass_ratio", "tail_quantile_error"
_FRECHET = "frechet_distance_classifier"
_NORM = "p=0.9999", "norm:p=0.9999"
_SHORTFALL = "right_tail:p=0.001", "norm:p=0.001"
_RIGHT = "right_tail:*", "norm:*"

HEADLINES: tuple[Headline, ...] = (
    Headline("ks", "ks", "KS distance", "log"),
    Headline("mmd", "mmd", "MMD² (unbiased)", "symlog", 0.0),
    Headline("mmd_linear", "mmd_linear", "MMD² (linear-time)", "symlog", 0.0),
    Headline("ksd", "ksd", "KSD²", "symlog", 0.0),
    Headline("tail_mass_left", _TAIL, "left-tail mass ratio", "log", 1.0, ("left_tail",)),
    Headline("tail_mass_right", _TAIL, "right-tail mass ratio", "log", 1.0, ("right_tail",)),
    Headline("quantile_left", _QUANTILE, "quantile error 0.01 %", "log", None, ("p=0.0001",)),
    Headline("quantile_right", _QUANTILE, "quantile error 99.99 %", "log", None, _NORM),
    Headline("hill_left", "hill", "Hill index, left tail", groups=("left_tail:*",)),
    Headline("hill_right", "hill", "Hill index, right tail", groups=_RIGHT),
    Headline(
        *("shortfall_right", "expected_shortfall", "shortfall error 0.1 %", "log", None, _SHORTFALL)
    ),
    Headline("log_likelihood", "log_likelihood", "log-likelihood (nats)"),
    Headline("reconstruction_error", "reconstruction_error", "reconstruction error"),
    Headline("fid", "fid", "FID"),
    Headline("frechet", _FRECHET, "Fréchet (classifier)", "log"),
    Headline("frechet_tail", _FRECHET, "Fréchet, tail", "log", None, ("tail",)),
    Headline("kid", "kid", "KID", "symlog", 0.0),
    Headline("precision", "precision", "precision"),
    Headline("recall", "recall", "recall"),
    Headline("density", "density", "density"),
    Headline("coverage", "coverage", "coverage"),
    Headline("class_f1", "class_f1", "F1 of the class"),
    Headline("class_mass_tail", "class_mass", "share, tail classes", groups=("tail",)),
    Headline("active_units", "active_units", "active latent units"),
    Headline("latent_radius", "latent_radius", "radius ratio", "log", 1.0),
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
    rows = headline.rows(metrics)
    groups = list(dict.fromkeys(rows["group"]))
    for pattern in headline.groups:
        found = sorted((g for g in groups if fnmatchcase(g, pattern)), key=_order)
        if found:
            group = found[len(found) // 2]
            rows = rows[rows["group"] == group].copy()
            of_truth = metrics["metric"].isin([f"{headline.metric}_{of}" for of in TRUE_SAMPLE])
            known = metrics.loc[of_truth & (metrics["group"] == group), "mean"].dropna()
            rows["ideal"] = float(known.mean()) if len(known) else headline.ideal
            return rows
    return rows.iloc[:0].assign(ideal=None)


def _order(group: str) -> float:
    try:
        return float(group.rpartition("=")[2])
    except ValueError:
        return 0.0


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
