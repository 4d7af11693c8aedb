"""What seeds say together: means with t intervals, paired differences, adjusted p-values.

The unit of replication is the training seed. One run's p-value speaks of that run alone;
several are combined by a rule that allows for their dependence (all runs share the test
data), and all p-values of one table are adjusted for their number. Nothing is called
significant that was not measured: where a run has no value, or the differences do not vary,
there is no p-value.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import special

from t3vae.errors import MetricError

__all__ = ["combine_p_values", "holm", "paired", "summarise", "t_interval"]

Entry = Mapping[str, Any]
Key = tuple[str, str | None, str]
KEY = ("metric", "latent", "group")

FEWEST_PAIRS = 3  # runs of a paired test
ROUNDING = 1e-12  # of the values compared: differences that vary by less do not vary


def t_interval(
    values: Sequence[float], confidence: float = 0.95
) -> tuple[float, float | None, float | None, float | None]:
    """Return mean, standard deviation and Student t interval of the mean.

    mean +- t_{K-1} sd / sqrt(K); with a single value the last three are None.

    Args:
        values: one value a seed, at least one.
        confidence: coverage of the interval.

    Raises:
        MetricError: no value, or one that is not finite.

    Example:
        >>> [round(float(v), 3) for v in t_interval([1.0, 2.0, 3.0])]
        [2.0, 1.0, -0.484, 4.484]
    """
    numbers = np.asarray(values, dtype=np.float64)
    if not len(numbers) or not np.isfinite(numbers).all():
        raise MetricError(f"interval of {list(values)}: needs at least one value, all finite.")
    mean = float(numbers.mean())
    if len(numbers) < 2:
        return mean, None, None, None
    sd = float(numbers.std(ddof=1))
    factor = float(special.stdtrit(len(numbers) - 1, 0.5 + confidence / 2))
    half = factor * sd / math.sqrt(len(numbers))
    return mean, sd, mean - half, mean + half


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return Holm's adjusted p-values (Scand. J. Statist. 6, 1979); None stays None.

    The i-th smallest of m is multiplied by m - i + 1, then made monotone and cut at 1. What is
    no number is None too, and does not count among the m.

    Args:
        p_values: p-values of one family.

    Raises:
        MetricError: a p-value outside 0..1.

    Example:
        >>> holm([0.01, None, 0.04, 0.03])
        [0.03, None, 0.06, 0.06]
    """
    found = [None if p is None or math.isnan(p) else p for p in p_values]
    known = [(p, index) for index, p in enumerate(found) if p is not None]
    _check_p_values([p for p, _ in known])
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, index) in enumerate(sorted(known)):
        largest = max(largest, min(1.0, p * (len(known) - rank)))
        adjusted[index] = largest
    return adjusted


def combine_p_values(p_values: Sequence[float]) -> float:
    """Return one p-value from K, valid whatever their dependence.

    Rueger's rule at the lower median: min(1, p_(k) K / k) with k = ceil(K / 2) (Metrika 25, 1978).

    Args:
        p_values: at least one p-value of the same hypothesis.

    Raises:
        MetricError: no p-value, or one that is not in 0..1.

    Example:
        >>> combine_p_values([0.01, 0.02, 0.9])
        0.03
    """
    if not len(p_values):
        raise MetricError("p-values: at least one is needed.")
    ordered = sorted(_check_p_values(p_values))
    k = (len(ordered) + 1) // 2
    return min(1.0, ordered[k - 1] * len(ordered) / k)


def _check_p_values(p_values: Sequence[float]) -> Sequence[float]:
    bad = [p for p in p_values if not 0 <= p <= 1]
    if bad:
        raise MetricError(f"p-values: {bad} must be numbers from 0 to 1.")
    return p_values


def summarise(entries: Iterable[Entry], confidence: float = 0.95) -> list[dict[str, Any]]:
    """Return one row for each model, metric, latent distribution and group, over seeds.

    Args:
        entries: entries of all runs of one table, each with ``model`` and ``seed``.
        confidence: coverage of the intervals.

    Returns:
        Rows with ``model``, ``metric``, ``latent``, ``group``, ``mean``, ``sd``, ``ci_low``,
        ``ci_high``, ``seeds`` (number of values), ``missing`` (number of seeds without one)
        and its ``reason``, ``n`` (smallest number of points), ``flag`` (the warning of the
        value with the fewest points among those that have one), ``p_value_median``,
        ``p_value_combined`` (:func:`combine_p_values`), ``p_value_holm`` (Holm over all rows).
        There are p-values only where every seed has one. A value that is not finite is a
        missing one.

    Raises:
        MetricError: two entries of one seed for the same row.

    Example:
        >>> both = [{"model": "vae", "seed": s, "name": "ks", "latent": "prior", "group": "all",
        ...          "value": v, "n": 10} for s, v in enumerate([0.1, 0.3])]
        >>> round(summarise(both)[0]["mean"], 12)
        0.2
    """
    rows: list[dict[str, Any]] = []
    for (model, key), seeds in _by_model(entries).items():
        found = [e for _, e in sorted(seeds.items()) if _known(e.get("value"))]
        absent = [e for e in seeds.values() if not _known(e.get("value"))]
        mean, sd, low, high = (
            t_interval([e["value"] for e in found], confidence) if found else (None,) * 4
        )
        p_values = [e["p_value"] for e in found if _known(e.get("p_value"))]
        if len(p_values) < len(seeds):
            p_values = []
        rows.append(
            {
                "model": model,
                **dict(zip(KEY, key, strict=True)),
                "mean": mean,
                "sd": sd,
                "ci_low": low,
                "ci_high": high,
                "seeds": len(found),
                "missing": len(absent),
                "reason": "; ".join(dict.fromkeys(map(_reason, absent))) or None,
                "n": min((e["n"] for e in found if "n" in e), default=None),
                "flag": _flag(found),
                "p_value_median": float(np.median(p_values)) if p_values else None,
                "p_value_combined": combine_p_values(p_values) if p_values else None,
            }
        )
    for row, p in zip(rows, holm([row["p_value_combined"] for row in rows]), strict=True):
        row["p_value_holm"] = p
    return rows


def paired(
    entries: Iterable[Entry],
    control: str | None,
    confidence: float = 0.95,
    controls: Mapping[str, Sequence[str]] | None = None,
) -> list[dict[str, Any]]:
    """Return the difference of each model to its control or controls, paired by seed.

    Args:
        entries: as in :func:`summarise`.
        control: name of the model that the others are compared with, or None.
        confidence: coverage of the intervals.
        controls: for some models the names of the models they are compared with instead.

    Returns:
        Rows with ``model``, ``control``, ``metric``, ``latent``, ``group``, ``difference``
        (mean of model minus control), ``sd``, ``ci_low``, ``ci_high``, ``seeds`` (pairs),
        ``flag`` (a warning of either side, as in :func:`summarise`), ``p_value`` (paired t
        test) and ``p_value_holm`` (Holm over all rows). Differences that do not vary have
        neither interval nor p-value; nor is there a p-value of fewer than three pairs, or
        where a run of either model has no value. Values that the models share (those of the
        true sample) give no row.

    Raises:
        MetricError: two entries of one seed for the same row.

    Example:
        >>> four = [{"model": m, "seed": s, "name": "ks", "latent": "prior", "group": "all",
        ...          "value": v} for m, s, v in
        ...         [("vae", 0, 0.1), ("vae", 1, 0.2), ("t", 0, 0.2), ("t", 1, 0.4)]]
        >>> round(paired(four, "vae")[0]["difference"], 12)
        0.15
    """
    table = _by_model(entries)
    rows: list[dict[str, Any]] = []
    compared = [
        (model, key, seeds, other)
        for (model, key), seeds in table.items()
        for other in (controls or {}).get(model, [control] if control else [])
        if other != model and (other, key) in table
    ]
    for model, key, seeds, name in compared:
        other = table[name, key]
        pairs = [
            (seeds[seed], other[seed])
            for seed in sorted(seeds.keys() & other.keys(), key=str)
            if _known(seeds[seed].get("value")) and _known(other[seed].get("value"))
        ]
        if not pairs or key[0].endswith(("_reference", "_true")):
            continue
        gaps = [ours["value"] - theirs["value"] for ours, theirs in pairs]
        difference, sd, low, high = t_interval(gaps, confidence)
        largest = max(abs(entry["value"]) for pair in pairs for entry in pair)
        if sd is not None and sd <= ROUNDING * largest:
            sd, low, high = 0.0, None, None
        count, p_value = len(pairs), None
        if sd and FEWEST_PAIRS <= count == len(seeds.keys() | other.keys()):
            t = abs(difference) / (sd / math.sqrt(count))
            p_value = float(2 * special.stdtr(count - 1, -t))
        rows.append(
            {
                "model": model,
                "control": name,
                **dict(zip(KEY, key, strict=True)),
                "difference": difference,
                "sd": sd,
                "ci_low": low,
                "ci_high": high,
                "seeds": count,
                "flag": _flag([entry for pair in pairs for entry in pair]),
                "p_value": p_value,
            }
        )
    for row, p in zip(rows, holm([row["p_value"] for row in rows]), strict=True):
        row["p_value_holm"] = p
    return rows


def _by_model(entries: Iterable[Entry]) -> dict[tuple[str, Key], dict[Any, Entry]]:
    table: dict[tuple[str, Key], dict[Any, Entry]] = {}
    for entry in entries:
        key = (entry["name"], entry.get("latent"), entry.get("group", "all"))
        seeds = table.setdefault((entry["model"], key), {})
        if entry["seed"] in seeds:
            raise MetricError(
                f"{entry['model']} seed {entry['seed']}: two values of {key}. "
                "Run `t3vae evaluate` again."
            )
        seeds[entry["seed"]] = entry
    return table


def _flag(entries: Sequence[Entry]) -> str | None:
    """Return the warning of the value with the fewest points among those that have one."""
    flagged = [entry for entry in entries if entry.get("flag")]
    return str(min(flagged, key=lambda e: int(e.get("n", 0)))["flag"]) if flagged else None


def _known(number: float | None) -> bool:
    return number is not None and math.isfinite(number)


def _reason(entry: Entry) -> str:
    given = entry.get("reason") or ""
    return str(given) if given or entry.get("value") is None else "not a finite number"
