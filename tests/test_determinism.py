"""One job or four, undisturbed or killed twice: the same bytes in every result.

One copy of a small suite runs job after job. In another, with four jobs at once, a training
is killed as a machine without memory would do, then Snakemake itself.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from copies import CHECKOUT, call, change, copy_code, jobs

EXPERIMENT = "univariate_smoke"
CPU = ("--config", "device=cpu", "--resources", "gpu=0")
RUN = f"results/runs/{EXPERIMENT}/t3vae_nu9/seed0"


def small_copy(target: Path) -> Path:
    """A copy of the code whose suite is a part of the smoke suite, with longer trainings."""
    copy_code(target)
    experiment = f"experiments.{EXPERIMENT}"
    small = {
        "suite": "smoke",
        "suites.smoke": [EXPERIMENT],
        f"{experiment}.models": ["vae", "t3vae_nu9"],
        f"{experiment}.seeds": [0],
        f"{experiment}.figures": ["history"],
        "training.smoke.epochs": 100,
        "training.smoke.patience": 100,
        "training.smoke.learning_rate": 1.0e-3,
    }
    change(target, small)
    return target


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("determinism")


@pytest.fixture(scope="module")
def alone(place) -> Path:
    """Every job after the other, without a disturbance."""
    folder = small_copy(place / "alone")
    done = call(folder, "snakemake", "-j1", *CPU)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def started(folder: Path) -> subprocess.Popen[bytes]:
    """Start four jobs at once; what is said goes to a file, since jobs may outlive Snakemake."""
    assert CHECKOUT not in (folder, *folder.parents)
    environment = {name: v for name, v in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-m", "snakemake", "-j4", *CPU]
    with open(folder / "said.txt", "wb") as said:
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=said, stderr=said)


def job_processes(folder: Path, verb: str) -> Iterator[int]:
    """Numbers of the Python processes that run a verb in a folder."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            wanted = words[1:4] == [b"-m", b"t3vae", verb.encode()]
            if wanted and (entry / "cwd").readlink() == folder:
                yield int(entry.name)
        except OSError:
            continue  # it has ended


def until(condition: Callable[[], bool], process: subprocess.Popen[bytes] | None = None) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert process is None or process.poll() is None, "it ended too early"
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(scope="module")
def disturbed(place) -> Path:
    """Four jobs at once; a training is killed, then Snakemake while others train."""
    folder = small_copy(place / "disturbed").resolve()

    # a job is killed: the run fails, names it, and keeps what else was made
    process = started(folder)
    until(lambda: any(folder.glob("scratch/runs/*/lock")), process)
    training = next(job_processes(folder, "train"))
    os.kill(training, signal.SIGKILL)
    assert process.wait() == 1
    text = (folder / "said.txt").read_text()
    assert "Error in rule train" in text and f"logs/train/{EXPERIMENT}" in text
    assert not list(folder.glob("results/**/.*.part")) and not (folder / "results/tables").exists()

    # Snakemake is killed: its jobs live on, and the next run wants to know
    process = started(folder)
    until(lambda: bool(list(job_processes(folder, "train"))), process)
    process.kill()
    process.wait()
    assert list(job_processes(folder, "train"))
    locked = call(folder, "snakemake", "-j4", *CPU)
    assert locked.returncode != 0 and "--unlock" in locked.stdout + locked.stderr
    until(lambda: not list(job_processes(folder, "train")))
    unlocked = call(folder, "snakemake", "--unlock")
    assert unlocked.returncode == 0, unlocked.stdout + unlocked.stderr
    done = call(folder, "snakemake", "-j4", *CPU)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def results(folder: Path) -> dict[str, bytes]:
    """Bytes of data and results, without what runs say of their duration."""
    found = {}
    for top in ("data", "results"):
        for path in sorted((folder / top).rglob("*")):
            if path.is_file():
                content = path.read_bytes()
                if path.name == "provenance.json" and "runs" in path.parts:
                    record = json.loads(content)
                    assert record.pop("seconds") >= 0
                    content = json.dumps(record).encode()
                found[str(path.relative_to(folder))] = content
    return found


def test_the_same_bytes(alone: Path, disturbed: Path) -> None:
    expected, found = results(alone), results(disturbed)
    assert set(expected) == set(found)
    assert [name for name in expected if expected[name] != found[name]] == []
    kinds = {Path(name).suffix for name in expected}
    assert {".npy", ".safetensors", ".json", ".csv", ".png", ".pdf", ".html"} <= kinds


def test_nothing_is_left_to_do_or_to_clean(disturbed: Path) -> None:
    assert jobs(disturbed) == set()
    assert list((disturbed / "scratch/runs").iterdir()) == []


def test_the_same_command_twice(alone: Path) -> None:
    """A model is trained, sampled and measured once more, by hand, over what is there."""
    before = results(alone)
    for path in alone.rglob("*"):
        if path.is_file():
            os.utime(path, (2e9, 2e9))  # a clock that was wrong
    run = ["--experiment", EXPERIMENT, "--model", "t3vae_nu9", "--seed", "0", "--device", "cpu"]
    for verb in ("train", "sample"):
        done = call(alone, "t3vae", verb, *run)
        assert done.returncode == 0, done.stderr
    assert results(alone) == before
    assert jobs(alone) == set()  # times say nothing
