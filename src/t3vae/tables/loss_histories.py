"""Training curves over seeds, and one line a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from t3vae.errors import DataError
from t3vae.tables.csv_files import significant

__all__ = ["QUANTITIES", "RUN_COLUMNS", "history", "losses"]

QUANTITIES = tuple(
    f"{split}_{part}"
    for split in ("train", "validation")
    for part in ("reconstruction", "regularizer", "total")
)
RUN_COLUMNS = ("model", "seed", "epochs", "best_epoch")
ROWS = 2400


def history(histories: Mapping[str, Sequence[pd.DataFrame]]) -> pd.DataFrame:
    """Return mean, smallest and largest value over seeds for each model and epoch.

    ``seeds`` counts the runs that reached the epoch. Many long histories are thinned to
    every k-th epoch (and the first and last) so that the table stays small.

    Args:
        histories: for each model one table a seed, with columns ``epoch`` and QUANTITIES.

    Raises:
        DataError: a history lacks a column.
    """
    pieces = []
    total = 0
    for model, tables in histories.items():
        for table in tables:
            lacking = sorted({"epoch", *QUANTITIES} - set(table.columns))
            if lacking:
                raise DataError(
                    f"history of {model}: columns {', '.join(lacking)} are missing. "
                    "Delete the run to train it again."
                )
        group = pd.concat(list(tables)).groupby("epoch", sort=True)
        piece = pd.DataFrame({"seeds": group.size()})
        for name in QUANTITIES:
            piece[f"{name}_mean"] = group[name].mean().map(significant)
            piece[f"{name}_minimum"] = group[name].min().map(significant)
            piece[f"{name}_maximum"] = group[name].max().map(significant)
        piece = piece.reset_index()
        piece.insert(0, "model", model)
        pieces.append(piece)
        total += len(piece)
    step = -(-total // ROWS) or 1
    thinned = [p[(p.index % step == 0) | (p.index == len(p) - 1)] for p in pieces]
    return pd.concat(thinned, ignore_index=True)


def losses(histories: Mapping[str, Sequence[pd.DataFrame]]) -> pd.DataFrame:
    """Return the mean losses over seeds for each model and epoch: what ``dvc plots`` samples.

    Args:
        histories: as for :func:`history`.
    """
    columns = {"train_total_mean": "train_loss", "validation_total_mean": "validation_loss"}
    return history(histories)[["model", "epoch", *columns]].rename(columns=columns)
