"""Images per CPU second of a training step, beside the authors' code where it is given."""

from __future__ import annotations

import importlib
import statistics
import sys
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from t3vae import models
from t3vae.training.batches import Rows, network_precision
from t3vae.training.optimizer import FlatAdam

__all__ = ["ReferenceStep", "Step", "rows", "table"]

BATCH, LATENT_DIM, NU, LEARNING_RATE = 128, 64, 10.0, 1e-4


class Step:
    """A training step of this package on random images, without the loop around it.

    Args:
        side: height and width in pixels.
        precision: ``float32`` or ``bfloat16``.
    """

    def __init__(self, side: int, precision: str) -> None:
        self.precision, shape = precision, [3, side, side]
        self.model = models.build({"family": "t3vae", "nu": NU}, shape, LATENT_DIM, sigma=1.0)
        self.rows = Rows.of(self.model, torch.randint(0, 256, (2 * BATCH, *shape)).byte())
        self.optimizer = FlatAdam(self.model.parameters(), learning_rate=LEARNING_RATE)

    def __call__(self) -> float:
        with network_precision(self.model, self.precision):
            batch = self.rows[torch.randperm(2 * BATCH)[:BATCH]]
            self.optimizer.zero_grad()
            loss = self.model.loss_and_gradients(*batch.inputs(flip=True))
            self.optimizer.step()
        return loss.total.item()


class ReferenceStep:
    """A training step of the authors' code in the order of its script, without its loader.

    Args:
        checkout: folder of the authors' repository.
        side: height and width in pixels.
    """

    def __init__(self, checkout: Path, side: int) -> None:
        folder = Path(checkout) / "image_analyses"
        if not folder.is_dir():
            raise SystemExit(f"{checkout}: no folder image_analyses in it.")
        # its synthetic experiments have a package of the same name
        hidden = {name: sys.modules.pop(name) for name in [*sys.modules] if _of_models(name)}
        sys.path.insert(0, str(folder))
        try:
            module: Any = importlib.import_module("models.t3VAE")
        finally:
            sys.path.remove(str(folder))
            for name in [name for name in sys.modules if _of_models(name)]:
                del sys.modules[name]
            sys.modules.update(hidden)
        arguments = Namespace(m_dim=LATENT_DIM, nu=NU, prior_sigma=1.0, beta_weight=1.0)
        shape = (BATCH, 3, side, side)
        self.model = module.t3VAE(shape, torch.device("cpu"), arguments)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=LEARNING_RATE)
        self.x = torch.rand(shape)

    def __call__(self) -> float:
        self.optimizer.zero_grad()
        given, z, mu, logvar = self.model.forward(self.x)
        _, _, total = self.model.loss(self.x, given, z, mu, logvar)
        total.backward()
        self.optimizer.step()
        return total.item()


def _of_models(name: str) -> bool:
    return name == "models" or name.startswith("models.")


def _measure(steps: dict[str, Callable[[], float]], repeats: int) -> dict[str, float]:
    """Return images per CPU second, medians of steps taken in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for repeat in range(repeats + 1):
        for name, step in steps.items():
            started = time.process_time()
            step()
            if repeat:
                seconds[name].append(time.process_time() - started)
    return {name: BATCH / statistics.median(values) for name, values in seconds.items()}


def rows(
    sides: tuple[int, ...] = (32, 64), *, checkout: Path | None = None, repeats: int = 3
) -> list[list[str]]:
    """Return cells: image, precision, speed of the reference and of this package, ratio."""
    found = []
    for side in sides:
        steps: dict[str, Callable[[], float]] = {
            precision: Step(side, precision) for precision in ("float32", "bfloat16")
        }
        if checkout is not None:
            steps["reference"] = ReferenceStep(checkout, side)
        speed = _measure(steps, repeats)
        reference = speed.pop("reference", None)
        for precision, value in speed.items():
            ratio = "-" if reference is None else f"{value / reference:.1f}x"
            known = "-" if reference is None else f"{reference:.1f}"
            found.append([f"3x{side}x{side}", precision, known, f"{value:.1f}", ratio])
    return found


def table(cells: list[list[str]]) -> str:
    """Return a Markdown table."""
    head = ["image", "precision", "reference, images/CPU s", "t3vae, images/CPU s", "ratio"]
    lines = [head, ["---"] * len(head), *cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
