"""Train one model of one experiment with one seed."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from t3vae import models
from t3vae.datasets.prepared import Prepared
from t3vae.provenance import digests
from t3vae.runtime import accelerator, files, layout
from t3vae.training import checkpoint, loop

__all__ = ["run"]


def run(
    root: Path,
    config: Mapping[str, Any],
    experiment: str,
    model: str,
    seed: int,
    device: str = "cpu",
) -> None:
    """Train and write weights, configuration, history and provenance of one run.

    The final state stays in scratch until ``sample`` has read the weights; until then the
    same call writes the same files again, without loop.

    Args:
        root: folder of the contract paths.
        config: resolved configuration: dataset, network, model, latent_dim, sigma, training,
            seed.
        experiment, model, seed: which run.
        device: ``cpu`` or ``cuda``.

    Raises:
        DataError, ConfigError, DivergedError, RunLockedError: see their messages.
    """
    accelerator.usable(device)
    data = Prepared(root, config["dataset"])
    provenance = digests.provenance("train", config, data.inputs)
    train, validation = data.array("train"), data.array("validation")
    torch.set_flush_denormal(True)
    if device != "cpu":  # one thread of a CPU is deterministic, and asking costs a second
        torch.use_deterministic_algorithms(True, warn_only=True)
    with models.initialisation(seed):
        net = models.build(
            config["model"],
            train.shape[1:],
            config["latent_dim"],
            sigma=config["sigma"],
            network=config["network"],
            classes=len(data.manifest.get("classes") or ()) or None,
        ).to(device)
    labels = {}
    if net.conditional:
        labels = {
            "labels": np.array(data.array("train_labels")),
            "validation_labels": np.array(data.array("validation_labels")),
        }
    key = digests.digest(provenance)
    folder = layout.under(root, layout.run_dir(experiment, model, seed))

    def write(result: loop.Result) -> None:
        files.write_json(folder / "config.json", dict(config))
        files.write_text(folder / "history.csv", history_csv(result.history))
        files.write_json(
            folder / "provenance.json",
            {
                "provenance": provenance,
                "versions": versions(),
                "seconds": round(result.seconds, 1),
                "host": host(device),
                "best_epoch": result.best_epoch,
                "epochs": result.epochs,
            },
        )
        metadata = {"provenance": digests.canonical_json(provenance)}
        checkpoint.save(net, folder / "model.safetensors", metadata=metadata)

    loop.fit(
        net,
        np.array(train),
        np.array(validation),
        **labels,
        flip=bool(data.manifest.get("flip", False)),
        seed=seed,
        path=layout.under(root, layout.scratch(key)),
        key=key,
        label=f"{experiment}/{model}/seed{seed}",
        settings=loop.Settings(**config["training"]),
        finish=write,
    )


def history_csv(history: list[dict[str, float]]) -> str:
    """Return the history as CSV text, one row an epoch."""
    lines = [",".join(loop.HISTORY_COLUMNS)]
    for row in history:
        cells = {k: v if k in ("epoch", "step") else f"{v:.10g}" for k, v in row.items()}
        lines.append(",".join(str(cells[name]) for name in loop.HISTORY_COLUMNS))
    return "\n".join([*lines, ""])


def versions() -> dict[str, str]:
    """Return the versions of what computes."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "scipy": version("scipy"),  # not imported for its name
    }


def host(device: str) -> dict[str, Any]:
    """Return the class of machine, without its name."""
    described: dict[str, Any] = {
        "machine": platform.machine(),
        "system": platform.system(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": device,
    }
    if device == "cuda":
        described["accelerator"] = torch.cuda.get_device_name()
    return described
