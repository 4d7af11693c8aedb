"""The authors' code, imported from a checkout that the user names.

Its training loop is a script, so one epoch is driven here in the same order of calls:
loader, three losses read as numbers, step; then validation and test with the graph of
gradients, and a copy of the best model. TensorBoard is left out, in its favour.
"""

from __future__ import annotations

import copy
import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

__all__ = ["Reference"]


class Reference:
    """The synthetic experiments of a checkout.

    Args:
        checkout: folder of the authors' repository.
        train, validation, test: arrays [N, n].
        nu, sigma: of its t3VAE.
    """

    def __init__(
        self,
        checkout: Path,
        train: np.ndarray,
        validation: np.ndarray,
        test: np.ndarray,
        *,
        nu: float,
        sigma: float,
    ) -> None:
        folder = Path(checkout) / "synthetic_data_analyses"
        if not folder.is_dir():
            raise SystemExit(f"{checkout}: no folder synthetic_data_analyses in it.")
        sys.path.insert(0, str(folder))
        try:
            self.mmd: Any = importlib.import_module("mmd")
            util = importlib.import_module("util")
            models = importlib.import_module("models.t3VAE")
        finally:
            sys.path.remove(str(folder))
        self.model = models.t3VAE(n_dim=train.shape[1], m_dim=1, nu=nu, recon_sigma=sigma)
        dataset = util.TensorDataset(torch.from_numpy(train.copy()))
        self.loader = torch.utils.data.DataLoader(dataset, batch_size=1024, shuffle=True)
        self.optimizer = torch.optim.Adam(
            self.model.parameters(), lr=1e-3, eps=1e-8, weight_decay=1e-4
        )
        self.validation = torch.from_numpy(validation.copy())
        self.test = torch.from_numpy(test.copy())

    def epoch(self) -> None:
        """Train one epoch."""
        self.model.train()
        for batch in self.loader:
            self.optimizer.zero_grad()
            reconstruction, regularizer, total = self.model(batch[0])
            total.backward()
            for value in (reconstruction, regularizer, total):
                value.item()
            self.optimizer.step()

    def model_epoch(self) -> None:
        """Train one epoch, validate, keep the best, test."""
        self.epoch()
        self.model.eval()
        for value in self.model(self.validation):
            value.item()
        best = copy.deepcopy(self.model)
        for value in best(self.test):
            value.item()

    def linear_test(self, a: np.ndarray, b: np.ndarray, permutations: int) -> None:
        """Run its linear MMD test."""
        self.mmd.mmd_linear_bootstrap_test(
            torch.from_numpy(a.copy()), torch.from_numpy(b.copy()), "cpu", iteration=permutations
        )
