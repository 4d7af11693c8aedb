"""Commands of the package in children of one process that has imported everything.

A child starts within milliseconds and can be killed, limited or made another user, which
the process of the tests cannot. What it prints goes to files.
"""

from __future__ import annotations

import json
import multiprocessing
import multiprocessing.forkserver
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from t3vae.settings.families import FAMILIES
from t3vae.settings.metrics import METRICS

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parent / "src"
CONTEXT = multiprocessing.get_context("forkserver")
STAGES = ("prepare", "train", "sample", "evaluate", "collect", "figure")
NOBODY = 65534


@dataclass(frozen=True)
class Done:
    """How a child ended."""

    status: int
    out: str
    err: str


def preload() -> None:
    """Start the process that the children are copies of; it has one thread."""
    before = dict(os.environ)
    figures = [f"t3vae.figures.{name}" for name in ("densities", "history")]
    figures += ["matplotlib.backends.backend_agg", "matplotlib.backends.backend_pdf"]
    figures += ["encodings.utf_16_be", "encodings.utf_32_be"]  # unreadable for some users later
    CONTEXT.set_forkserver_preload(
        ["pytest", "children", "t3vae.cli", "t3vae.settings.given", *figures]
        + [
            entry.code.partition(":")[0]
            for table in (FAMILIES, METRICS)
            for entry in table.values()
        ]
        + [f"t3vae.stages.{verb}" for verb in STAGES]
    )
    paths = [str(SOURCE), str(HERE), *before.get("PYTHONPATH", "").split(os.pathsep)]
    os.environ.update(PYTHONPATH=os.pathsep.join(filter(None, paths)), OMP_NUM_THREADS="1")
    try:
        multiprocessing.forkserver.ensure_running()
    finally:
        os.environ.clear()
        os.environ.update(before)
    start(_nothing).join()  # when this one has ended, the imports are done


def _nothing() -> None:
    pass


def start(target: Callable[..., None], *arguments: Any) -> Any:
    """Start a child that calls ``target``; return its process."""
    process = CONTEXT.Process(target=target, args=arguments)
    process.start()
    return process


def t3vae(
    root: Path,
    *arguments: str,
    user: int | None = None,
    limits: Mapping[int, int] | None = None,
    memory: int | None = None,
    before: Callable[[], None] | None = None,
    streams: Path | None = None,
) -> Done:
    """Run the command line in a child, in the folder ``root``.

    Args:
        root: working folder.
        arguments: of the command line.
        user: number of the user that it runs as.
        limits: limits of resources by their number.
        memory: bytes that it may have beside what it starts with.
        before: called before the command.
        streams: where output goes, with the endings out and err; by default beside ``root``.
    """
    place = streams or root
    paths = [place.parent / f"{place.name}.{name}" for name in ("out", "err")]
    how = (user, dict(limits or {}), memory, before)
    process = start(_command, root, paths, arguments, *how)
    process.join(120)
    if process.is_alive():
        process.kill()
        process.join()
    return Done(process.exitcode, *(path.read_text() for path in paths))


def _command(
    root: Path,
    streams: list[Path],
    arguments: tuple[str, ...],
    user: int | None,
    limits: dict[int, int],
    memory: int | None,
    before: Callable[[], None] | None,
) -> None:
    import resource

    from t3vae import cli

    os.chdir(root)
    for number, path in enumerate(streams, 1):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, number)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
    if user is not None:
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
    if memory is not None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limits[resource.RLIMIT_AS] = memory + pages * resource.getpagesize()
    for limit, value in limits.items():
        resource.setrlimit(limit, (value, value))
    if before is not None:
        before()
    try:
        cli.main(list(arguments))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def pipeline(root: Path, configs: Mapping[str, dict[str, Any]], run: tuple[Any, ...]) -> None:
    """Train, sample and evaluate as the workflow would: what is there is not made again."""
    from t3vae.runtime import layout, scratch
    from t3vae.training import loop

    scratch.SAVE_SECONDS = 0.02  # when the state is saved changes no result
    loop._CHECK_EVERY = 4
    outputs = {
        "train": layout.run_file(*run, "model.safetensors"),
        "sample": layout.samples(*run),
        "evaluate": layout.metrics(*run),
    }
    for verb, output in outputs.items():
        if not layout.under(root, output).exists():
            import_module(f"t3vae.stages.{verb}").run(root, configs[verb], *run)


# --- a tiny experiment --------------------------------------------------------------------

RUN = ("tiny", "model", 0)
LATENTS = ["prior", "alternative", "fitted"]


def tiny_configs(model: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Resolved configurations of a very small experiment with one model, by verb."""
    component = {"scale": 1.0, "nu": 5.0}
    data = {
        "source": "t_mixture_1d",
        "components": [
            {"weight": 0.6, "mean": -2.0, **component},
            {"weight": 0.4, "mean": 2.0, **component},
        ],
        "train": 1000,
        "validation": 300,
        "test": 400,
        "seeds": {"train": 1, "validation": 2, "test": 3},
    }
    training = {
        "learning_rate": 5e-3,
        "epsilon": 1e-8,
        "weight_decay": 1e-4,
        "batch_size": 32,
        "epochs": 14,
        "patience": 14,
        "clip_norm": None,
        "precision": "float32",
    }
    fit = {
        "points": 300,
        "max_components": 2,
        "held_out": 0.2,
        "iterations": 10,
        "tolerance": 1e-4,
    }
    shared = {"dataset": "toy", "seed": 0}
    metrics = ["ks", "tail_mass_ratio", "log_likelihood", "reconstruction_error"]
    return {
        "prepare": {"dataset": "toy", **data},
        "train": {
            **shared,
            "network": {"kind": "mlp", "hidden": [8, 8], "negative_slope": 0.01},
            "model": dict(model),
            "latent_dim": 1,
            "sigma": 0.3,
            "training": training,
        },
        "sample": {
            **shared,
            "latents": LATENTS,
            "sampling": {"samples": 400, "aggregate": 400, "reconstructions": 50, "fit": fit},
        },
        "evaluate": {
            **shared,
            "latents": LATENTS,
            "metrics": metrics,
            "evaluation": {
                "threshold": 6.0,
                "confidence": 0.95,
                "ks": {},
                "tail_mass_ratio": {},
                "log_likelihood": {"points": 20, "samples": 20},
                "reconstruction_error": {},
            },
        },
        "collect": {
            "dataset": "toy",
            "models": ["model"],
            "families": {"model": model["family"]},
            "labels": {},
            "seeds": [0],
            "latents": LATENTS,
            "metrics": metrics,
            "control": None,
            "figures": ["history"],
        },
        "figure": {
            "name": "history",
            "models": ["model"],
            "looks": {
                "model": {"label": "model", "colour": "#0072b2", "marker": "o", "line": "solid"}
            },
            "style": {
                "column_width_mm": 85.0,
                "page_width_mm": 180.0,
                "font_size": 7.5,
                "line_width": 1.2,
                "dpi": 72,
            },
        },
    }


def add_classes(root: Path) -> None:
    """Give the rows of the tiny experiment one of two classes each: their side of zero."""
    import hashlib

    from t3vae.runtime import files, layout

    path = layout.under(root, layout.manifest("toy"))
    manifest = files.read_json(path)
    for split in ("train", "validation", "test"):
        rows = files.read_npy(path.parent / f"{split}.npy")
        labels = (rows[:, 0] > 0).astype("int64")
        files.write_npy(path.parent / f"{split}_labels.npy", labels)
        checksum = hashlib.sha256(labels.tobytes()).hexdigest()
        manifest["arrays"][f"{split}_labels.npy"] = {"sha256": checksum}
    files.write_json(path, {**manifest, "classes": ["left", "right"]})


def arguments(verb: str, config: Mapping[str, Any]) -> list[str]:
    """Arguments of the command line for one step of the tiny experiment."""
    experiment, model, seed = RUN
    names = {
        "prepare": ["--dataset", "toy"],
        "collect": ["--experiment", experiment],
        "figure": ["--experiment", experiment, "--name", "history"],
    }
    run = ["--experiment", experiment, "--model", model, "--seed", str(seed), "--device", "cpu"]
    return [verb, *names.get(verb, run), "--config", json.dumps(config)]


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, without what a run says of its own duration."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            if path.name == "provenance.json":
                record = json.loads(content)
                record.pop("seconds", None)
                content = json.dumps(record).encode()
            found[str(path.relative_to(folder))] = content
    return found
