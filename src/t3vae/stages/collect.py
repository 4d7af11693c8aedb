"""Collect: all results of one experiment into small tables.

Reads the samples, metrics and training histories of every run and the prepared data;
writes the tables that figures, the report and ``dvc metrics`` read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from t3vae import datasets
from t3vae.datasets.prepared import Prepared
from t3vae.errors import DataError
from t3vae.metrics.summary import paired, summarise
from t3vae.provenance import digests
from t3vae.runtime import files, layout
from t3vae.tables import density_curves, headlines, latent_mismatch, loss_histories, names
from t3vae.tables.csv_files import frame, read_table, write_table
from t3vae.tables.density_grids import Heatmaps

__all__ = ["run"]

CURVES = ("densities", "densities_log", "survival", "quantiles")
METRIC_COLUMNS = (
    *("experiment", "model", "metric", "latent", "group", "mean", "sd", "ci_low", "ci_high"),
    *("seeds", "missing", "n", "p_value_median", "p_value_combined", "p_value_holm"),
    *("label", "direction", "reason", "flag"),
)
PAIRED_COLUMNS = (
    *("experiment", "model", "control", "metric", "latent", "group", "difference"),
    *("sd", "ci_low", "ci_high", "seeds", "p_value", "p_value_holm", "flag"),
)
MISSING_COLUMNS = ("model", "seed", "metric", "latent", "group", "reason")


def run(root: Path, config: Mapping[str, Any], experiment: str) -> None:
    """Write the tables of one experiment.

    Args:
        root: folder of the contract paths.
        config: resolved configuration: dataset, models, seeds, latents, figures, control.
        experiment: name of the experiment.

    Raises:
        DataError: an input is missing or damaged.
    """
    data = Prepared(root, config["dataset"])
    inputs = dict(data.inputs)
    if config.get("models"):
        collected = _Collector(root, config, experiment, data, inputs)
        tables, extra = collected.tables(), {"versions": collected.versions}
        for model in config["models"]:
            summary = headlines.summary(tables["metrics.csv"], model)
            files.write_json(layout.under(root, layout.headline(experiment, model)), summary)
        losses = loss_histories.losses(collected.histories)
        write_table(layout.under(root, layout.loss_history(experiment)), losses)
    else:
        tables, extra = dict(_theory(config, data, inputs)), {}
    for name, table in tables.items():
        write_table(_path(root, experiment, name), table)
    made = digests.provenance("collect", config, inputs, uses=[data.config])
    files.write_json(_path(root, experiment, "provenance.json"), {"provenance": made, **extra})


def _path(root: Path, experiment: str, name: str) -> Path:
    return layout.under(root, layout.table(experiment, name))


def _theory(
    config: Mapping[str, Any], data: Prepared, inputs: dict[str, str]
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the tables of an experiment without models: arrays with named columns."""
    for name in names(config):
        array = name.removesuffix(".csv")
        columns = data.manifest.get("columns", {}).get(array)
        if columns is None:
            raise DataError(
                f"{layout.manifest(config['dataset'])}: no columns for {array!r}, which "
                f"a figure needs. Known: {', '.join(sorted(data.manifest.get('columns', {})))}."
            )
        values = data.array(array)
        path = layout.prepared(config["dataset"], f"{array}.npy")
        inputs[path] = digests.file_digest(layout.under(data.root, path))
        yield (name, pd.DataFrame(values, columns=columns))


class _Collector:
    """Passes once over the runs of an experiment, one file of samples in memory at a time."""

    def __init__(
        self,
        root: Path,
        config: Mapping[str, Any],
        experiment: str,
        data: Prepared,
        inputs: dict[str, str],
    ) -> None:
        self.root, self.config, self.experiment, self.inputs = root, config, experiment, inputs
        self.models, self.seeds = list(config["models"]), list(config["seeds"])
        self.wanted = set(names(config))
        self.versions: list[dict[str, Any]] = []
        self.entries: list[dict[str, Any]] = []
        self.runs: list[dict[str, Any]] = []
        self.histories: dict[str, list[pd.DataFrame]] = {}
        self.curve_rows: dict[str, list[dict[str, Any]]] = {}
        self.shared_entries: list[dict[str, Any]] = []
        self.aggregate: list[dict[str, Any]] = []
        self.mismatch: list[dict[str, Any]] = []
        self.images: Any = None
        self.test, self.distribution = np.zeros((0, 0)), None
        if config.get("images"):
            known = ("test", "test_labels", "test_attributes")
            found = {n: data.array(n) for n in known if f"{n}.npy" in data.manifest["arrays"]}
            image_tables = import_module("t3vae.tables.image_tables")
            self.images = image_tables.ImageTables(data.manifest, found, self.wanted)
        else:
            test = np.asarray(data.array("test"), dtype=np.float64)
            self.test = test.reshape(len(test), -1)
            self.distribution = datasets.load_distribution(data.config)
        self.grids: dict[str, list[density_curves.Curve]] = {}
        self.heatmaps: Heatmaps | None = None

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return every table by file name."""
        for model in self.models:
            self._model(model)
        every = self.entries
        if self.images is not None:  # single classes have tables of their own
            self.entries = [e for e in every if self.images.is_shared(e)]
        metrics, compared = self._metric_tables()
        found = {
            "metrics.csv": metrics,
            "paired.csv": compared,
            "missing.csv": self._missing(),
            "runs.csv": frame(self.runs, loss_histories.RUN_COLUMNS),
            "latent_mismatch.csv": frame(self.mismatch, latent_mismatch.MISMATCH_COLUMNS),
            "aggregate.csv": frame(self.aggregate, latent_mismatch.AGGREGATE_COLUMNS),
        }
        if "history.csv" in self.wanted:
            found["history.csv"] = loss_histories.history(self.histories)
        if self.heatmaps is not None:
            found["heatmaps.csv"] = self.heatmaps.table()
        if self.images is not None:
            found |= self.images.tables(every)
        for kind, rows in self.curve_rows.items():
            found[f"{kind}.csv"] = frame(rows, density_curves.COLUMNS)
        return {name: table for name, table in found.items() if name in self.wanted}

    def _model(self, model: str) -> None:
        values: dict[tuple[str, str, int], list[np.ndarray]] = {}
        distances: dict[str, list[float]] = {}
        counts: dict[str, int] = {}
        for seed in self.seeds:
            path = layout.samples(self.experiment, model, seed)
            tensors = files.read_tensors(self._input(path))
            latents = self._latents(path, tensors)
            shown = self._run_files(model, seed, latents)
            if self.images is not None and seed == self.seeds[0]:
                self.images.add(model, tensors, latents, shown)
            for latent in latents:
                if self.images is None:
                    self._generated(model, latent, tensors[f"samples/{latent}"], values)
                counts[latent] = counts.get(latent, 0) + len(tensors[f"samples/{latent}"])
                distance = latent_mismatch.mismatch(
                    tensors[f"latent/{latent}"], tensors["latent/aggregate"]
                )
                distances.setdefault(latent, []).append(distance)
            if seed == self.seeds[0] and "aggregate.csv" in self.wanted:
                samples = dict.fromkeys(latents, tensors[f"latent/{latent}"])
                self.aggregate += latent_mismatch.densities(
                    model, seed, tensors["latent/aggregate"], samples
                )
        for (kind, latent, i), stack in values.items():
            grid = self.grids[kind][i]
            self.curve_rows[kind] += density_curves.rows(grid, model, latent, stack, counts[latent])
        self.mismatch += [
            latent_mismatch.mismatch_row(model, latent, d) for latent, d in distances.items()
        ]

    def _input(self, path: str) -> Path:
        full = layout.under(self.root, path)
        self.inputs[path] = digests.file_digest(full)
        return full

    def _latents(self, path: str, tensors: Mapping[str, np.ndarray]) -> list[str]:
        """Return the latent distributions of a run, without an alternative that is only the prior.

        A model without a p* of its own has the same samples under both names.
        """
        latents = list(self.config["latents"])
        needed = [f"{kind}/{latent}" for latent in latents for kind in ("latent", "samples")]
        lacking = sorted({"latent/aggregate", *needed} - set(tensors))
        if lacking:
            raise DataError(
                f"{path}: {', '.join(lacking)} missing. Delete the file to sample again."
            )
        if {"prior", "alternative"} <= set(latents) and np.array_equal(
            tensors["samples/alternative"], tensors["samples/prior"]
        ):
            latents.remove("alternative")
        return latents

    def _generated(
        self,
        model: str,
        latent: str,
        generated: np.ndarray,
        values: dict[tuple[str, str, int], list[np.ndarray]],
    ) -> None:
        generated = np.asarray(generated, dtype=np.float64).reshape(len(generated), -1)
        if not self.curve_rows and self.heatmaps is None:
            self._start(len(generated))
        for kind, grids in self.grids.items():
            for i, grid in enumerate(grids):
                values.setdefault((kind, latent, i), []).append(grid.measure(generated))
        if self.heatmaps is not None:
            self.heatmaps.add(model, latent, generated)

    def _start(self, generated: int) -> None:
        """Fix the grids; ``samples`` is the size of the first sample."""
        self.grids = {
            kind: density_curves.curves(kind, self.test, self.distribution, generated)
            for kind in CURVES
            if f"{kind}.csv" in self.wanted
        }
        for kind, grids in self.grids.items():
            self.curve_rows[kind] = [
                row for g in grids for row in density_curves.rows(g, "truth", None, [])
            ]
        if "heatmaps.csv" in self.wanted:
            columns = len(self.models) * len(self.config["latents"])
            density = None if self.distribution is None else self.distribution.log_prob
            self.heatmaps = Heatmaps.of(self.test, density, columns)

    def _run_files(self, model: str, seed: int, latents: list[str]) -> dict[str, Any]:
        """Take entries, history and versions of a run; return which samples its grid shows."""
        record = files.read_json(self._input(layout.metrics(self.experiment, model, seed)))
        repeated = set(self.config["latents"]) - set(latents)
        for entry in record["metrics"]:
            named = {**entry, "model": model, "seed": seed}
            self.shared_entries.append(named)
            if entry["latent"] not in repeated:
                self.entries.append(named)
        name = layout.run_file(self.experiment, model, seed, "provenance.json")
        made = files.read_json(layout.under(self.root, name))
        self.runs.append({**made, "model": model, "seed": seed})
        if made.get("versions") and made["versions"] not in self.versions:
            self.versions.append(made["versions"])
        path = self._input(layout.run_file(self.experiment, model, seed, "history.csv"))
        self.histories.setdefault(model, []).append(read_table(path))
        shown: dict[str, Any] = record.get("shown") or {}
        return shown

    def _metric_tables(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        rows = []
        for row in summarise(self.entries):
            shown = self.config["labels"].get(row["metric"], {})
            rows.append({**row, **shown, "experiment": self.experiment})
        control = self.config.get("control")
        # images are compared under the distribution that each model itself generates from
        entries = self.entries
        if self.images is not None:
            entries = [e for e in self.shared_entries if self.images.is_shared(e)]
        controls = self.config.get("controls")
        compared = paired(entries, control, controls=controls) if control or controls else []
        return (
            frame(rows, METRIC_COLUMNS),
            frame([{**r, "experiment": self.experiment} for r in compared], PAIRED_COLUMNS),
        )

    def _missing(self) -> pd.DataFrame:
        rows = [{**e, "metric": e["name"]} for e in self.entries if e.get("value") is None]
        return frame(rows, MISSING_COLUMNS)
