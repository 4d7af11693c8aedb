"""Content of the page: for each experiment its runs, figures, statements and tables."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from t3vae.errors import DataError
from t3vae.report.number_format import number
from t3vae.report.verdict import verdict
from t3vae.runtime import layout
from t3vae.runtime.files import read_json
from t3vae.tables.csv_files import read_table
from t3vae.tables.headlines import HEADLINES, select
from t3vae.tables.latent_titles import LATENT_LABELS, LATENT_SHORT, LATENTS

__all__ = ["experiment"]

Cells = list[list[str]]

FEW_MARK = "†"
_FEW = (
    f"{FEW_MARK} From fewer images than twice the number of features: a Fréchet distance is too "
    "large then. The table of all metrics says how many."
)


def experiment(
    root: Path, name: str, config: Mapping[str, Any], captions: Mapping[str, str]
) -> dict[str, Any]:
    """Return everything that the page shows of one experiment.

    Args:
        root: folder of the contract paths.
        name: name of the experiment.
        config: its part of the resolved configuration: dataset, models, seeds, figures, metrics.
        captions: captions of figures by name.

    Raises:
        DataError: a table or figure is missing.
    """
    provenance = read_json(layout.under(root, layout.table(name, "provenance.json")))
    shown = {
        "name": name,
        "dataset": config["dataset"],
        "seeds": ", ".join(str(seed) for seed in config.get("seeds") or ()),
        "figures": [_figure(root, name, figure, captions[figure]) for figure in config["figures"]],
        "provenance": provenance["provenance"],
        "versions": provenance.get("versions", []),
        "models": [],
        "verdict": [],
        **dict.fromkeys(("headline", "paired", "metrics", "missing")),
    }
    if config.get("models"):
        tables = {
            table: read_table(layout.under(root, layout.table(name, f"{table}.csv")))
            for table in ("metrics", "paired", "missing", "runs", "latent_mismatch")
        }
        shown["models"] = _models(config["models"], config["labels"], tables["runs"])
        tables = {name: _labelled(table, config["labels"]) for name, table in tables.items()}
        shown["verdict"] = verdict(tables["metrics"], tables["latent_mismatch"])
        shown["headline"] = _headline(tables["metrics"], list(config["labels"].values()))
        shown |= {name: _long(tables[name]) for name in ("metrics", "paired", "missing")}
    return shown


def _figure(root: Path, name: str, figure: str, caption: str) -> dict[str, str]:
    path = layout.under(root, layout.figure(name, figure, "png"))
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(
            f"{path}: no such figure. Run `t3vae figure --experiment {name} --name {figure}` first."
        ) from error
    return {
        "name": figure,
        "caption": caption,
        "data": base64.b64encode(content).decode("ascii"),
        "width": str(int.from_bytes(content[16:20], "big")),
        "height": str(int.from_bytes(content[20:24], "big")),
        "path": layout.figure(name, figure, "pdf"),
    }


def _labelled(table: pd.DataFrame, labels: Mapping[str, str]) -> pd.DataFrame:
    """Return a table in which models are called by their labels."""
    columns = [name for name in ("model", "control") if name in table]
    return table.assign(**{name: table[name].map(labels) for name in columns})


def _models(
    models: Mapping[str, Mapping[str, Any]], labels: Mapping[str, str], runs: pd.DataFrame
) -> Cells:
    rows = []
    for name, parameters in models.items():
        settings = [
            f"{key} = {value:g}" if isinstance(value, float) else f"{key} = {value}"
            for key, value in parameters.items()
            if key != "family" and value is not None
        ]
        own = runs[runs["model"] == name]
        spans = [_span(own[column]) for column in ("epochs", "best_epoch")]
        family = str(parameters.get("family", ""))
        rows.append([labels[name], name, family, ", ".join(settings) or "–", *spans])
    return rows


def _headline(metrics: pd.DataFrame, models: Iterable[str]) -> dict[str, Any]:
    """Return the headline table: one row a model and distribution, one column a headline."""
    chosen = [(h, rows) for h in HEADLINES if len(rows := select(metrics, h))]
    latents = [latent for latent in LATENTS if latent in set(metrics["latent"].dropna())]
    body = []
    for model in models:
        for latent in latents:
            found = [
                rows[(rows["model"] == model) & (rows["latent"] == latent)] for _, rows in chosen
            ]
            if any(len(rows) for rows in found):
                cells = [_estimate(rows.iloc[0]) if len(rows) else "–" for rows in found]
                body.append([model, LATENT_SHORT.get(latent, latent), *cells])
    ideals = [rows["ideal"].dropna() for _, rows in chosen]
    if any(len(values) for values in ideals):
        texts = [number(values.iloc[0]) if len(values) else "–" for values in ideals]
        body.append(["true distribution", "", *texts])
    few = any(rows["flag"].notna().any() for _, rows in chosen)
    return {
        "head": ["model", "latent distribution", *(h.label for h, _ in chosen)],
        "rows": body,
        "note": _FEW if few else "",
    }


def _estimate(row: pd.Series) -> str:
    if pd.isna(row["mean"]):
        reason = row.get("reason")
        return f"no value: {reason}" if isinstance(reason, str) else "no value"
    text = number(row["mean"])
    if not (pd.isna(row["ci_low"]) or pd.isna(row["ci_high"])):
        text += f" [{number(row['ci_low'])}, {number(row['ci_high'])}]"
    if isinstance(row.get("flag"), str):
        text += f" {FEW_MARK}"
    if row.get("missing"):
        text += f" ({int(row['missing'])} of {int(row['missing'] + row['seeds'])} seeds missing)"
    return text


_COLUMNS = {
    "model": "model",
    "control": "minus",
    "seed": "seed",
    "metric": "metric",
    "latent": "latent distribution",
    "group": "group",
    "mean": "mean",
    "difference": "mean difference",
    "sd": "sd",
    "ci_low": "95 % low",
    "ci_high": "95 % high",
    "seeds": "seeds",
    "n": "points",
    "p_value": "p",
    "p_value_median": "p, median",
    "p_value_combined": "p, combined",
    "p_value_holm": "p, Holm",
    "reason": "missing because",
    "flag": "caution",
}


def _long(table: pd.DataFrame) -> dict[str, Any] | None:
    """Return a whole table as text, or None if it is empty."""
    known = [name for name in _COLUMNS if name in table.columns]
    if table.empty:
        return None
    rows = [
        [_cell(name, value) for name, value in zip(known, row, strict=True)]
        for row in table[known].itertuples(index=False, name=None)
    ]
    return {"head": [_COLUMNS[name] for name in known], "rows": rows}


def _cell(column: str, value: Any) -> str:
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return ""
    if column == "latent":
        return LATENT_LABELS.get(str(value), str(value))
    if column in ("seeds", "seed", "n"):
        return str(int(value))
    return value if isinstance(value, str) else number(float(value))


def _span(values: pd.Series) -> str:
    known = values.dropna()
    if known.empty:
        return "–"
    low, high = int(known.min()), int(known.max())
    return str(low) if low == high else f"{low}–{high}"
