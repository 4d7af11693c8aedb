"""Densities of bivariate samples on a grid of cells, one column for each model and distribution."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from t3vae.tables.csv_files import rounded_edges

__all__ = ["Heatmaps"]

Array = np.ndarray
LEVEL = 5e-4
CELLS = 48
CHARACTERS = 900_000


@dataclass
class Heatmaps:
    """Collects histograms of bivariate samples; the mean over seeds goes into the table.

    Attributes:
        x_edges, y_edges: ends of the cells [cells + 1].
        truth: true density of the cells [cells, cells], or None.
    """

    x_edges: Array
    y_edges: Array
    truth: Array | None = None
    columns: dict[str, list[Array]] = field(default_factory=dict)

    @classmethod
    def of(
        cls, test: Array, log_density: Callable[[Array], Array] | None, columns: int
    ) -> Heatmaps:
        """Return an empty collection with a grid that covers the bulk of the test data.

        Args:
            test: test data [N, 2].
            log_density: true log density of points [P, 2] -> [P], or None for the histogram
                of the test data.
            columns: number of columns to come; many columns make a coarser grid.
        """
        cells = min(CELLS, int(np.sqrt(CHARACTERS / (6 * (columns + 3)))))
        low, high = np.quantile(np.asarray(test, dtype=np.float64), [LEVEL, 1 - LEVEL], axis=0)
        wide = np.where(high > low, 0.0, 1e-3 * np.abs(low) + 1e-3)  # of a constant column
        low, high = low - wide, high + wide
        edges = [rounded_edges(np.linspace(low[i], high[i], cells + 1), 5) for i in range(2)]
        grid = cls(edges[0], edges[1])
        if log_density is None:
            grid.truth = grid.measure(test)
        else:
            x, y = (0.5 * (e[1:] + e[:-1]) for e in edges)
            points = np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1).reshape(-1, 2)
            grid.truth = np.exp(np.asarray(log_density(points))).reshape(cells, cells)
        return grid

    def measure(self, generated: Array) -> Array:
        """Return the histogram density of samples [N, 2] over all N (outliers included)."""
        counts, _, _ = np.histogram2d(
            generated[:, 0], generated[:, 1], [self.x_edges, self.y_edges]
        )
        area = np.outer(np.diff(self.x_edges), np.diff(self.y_edges))
        return np.asarray(counts / (len(generated) * area))

    def add(self, model: str, latent: str, generated: Array) -> None:
        """Add the samples of one seed."""
        self.columns.setdefault(f"{model}:{latent}", []).append(self.measure(generated))

    def table(self) -> pd.DataFrame:
        """Return one row a cell: its edges and the log10 density of each column.

        An empty cell of a histogram is a missing value.
        """
        x0, y0 = np.meshgrid(self.x_edges[:-1], self.y_edges[:-1], indexing="ij")
        x1, y1 = np.meshgrid(self.x_edges[1:], self.y_edges[1:], indexing="ij")
        data = {
            "x_left": x0.ravel(),
            "x_right": x1.ravel(),
            "y_left": y0.ravel(),
            "y_right": y1.ravel(),
        }
        found = {} if self.truth is None else {"truth": self.truth}
        found.update({name: np.mean(values, axis=0) for name, values in self.columns.items()})
        for name, density in found.items():
            positive = np.where(density > 0, density, np.nan)
            data[name] = np.round(np.log10(positive), 2).ravel()
        return pd.DataFrame(data)
