"""How much disk a suite needs, before it runs."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from t3vae.runtime import layout
from t3vae.settings.sources import source_of
from t3vae.workflow.plan import Job, Plan

__all__ = ["expected_bytes", "start_message"]

FLOAT32 = 4
# Weights, tables, figures, logs and metadata of one run: small beside its samples.
PER_JOB = 300_000


def expected_bytes(plan: Plan) -> int:
    """Return the bytes that data and results of the suite take, about.

    Prepared arrays and samples count; a data set whose width is not known counts as one column.
    """
    return sum(_bytes(plan, job) for job in plan.jobs())


def _bytes(plan: Plan, job: Job) -> int:
    config = job.config
    if job.verb == "prepare":
        rows = sum(config.get(split, 0) for split in ("train", "validation", "test"))
        columns, (images, size) = _width(config)
        return PER_JOB + rows * columns * FLOAT32 + images * size
    if job.verb == "train":
        return PER_JOB + _weights(config["network"])
    if job.verb == "sample":
        sampling = config["sampling"]
        columns, (_, size) = _width(plan.prepare(config["dataset"]).config)
        columns = size // FLOAT32 or columns
        latent = plan.train(**job.names).config["latent_dim"]
        drawn = len(config["latents"]) * sampling["samples"] * (columns + latent)
        encoded = sampling["aggregate"] * latent
        return PER_JOB + FLOAT32 * (drawn + encoded + sampling["reconstructions"] * columns)
    return PER_JOB


def _width(dataset: Mapping[str, Any]) -> tuple[int, tuple[int, int]]:
    """Return the columns of a row of numbers, and the number and bytes of images."""
    source = source_of(dataset)
    return (max(1, source.columns or 1), source.size) if source else (1, (0, 0))


def _weights(network: Mapping[str, Any]) -> int:
    """Return the bytes of the weights of encoder and decoder; little for a perceptron."""
    if network.get("kind") != "cnn":
        return 0
    channels = [3, *(network["width"] * count for count in network["channels"])]
    return int(2 * FLOAT32 * sum(9 * inner * outer for inner, outer in pairwise(channels)))


def start_message(plan: Plan, folder: Path) -> str:
    """Return what a run says when it starts: the suite, its jobs, and the disk it needs.

    Args:
        plan: the jobs of the suite.
        folder: where data and results lie; what is there already needs no more room.
    """
    expected = expected_bytes(plan)
    outputs = [layout.under(folder, path) for job in plan.jobs() for path in job.outputs]
    there = sum(path.stat().st_size for path in outputs if path.is_file())
    free = shutil.disk_usage(folder).free
    text = (
        f"suite {plan.parameters.suite}: {len(plan.jobs())} jobs in all; "
        f"data and results take about {_shown(expected)}, and as much again in the cache of DVC "
        f"if you use it; {_shown(free)} are free"
    )
    if free < expected - there:
        text += ". This may not be enough: a full disk stops the run, which then goes on from there"
    return text


def _shown(size: int) -> str:
    """Return a number of bytes for people.

    Example:
        >>> _shown(20_000_000), _shown(3_400_000_000)
        ('20 MB', '3.4 GB')
    """
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.0f} MB"
