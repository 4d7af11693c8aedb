"""Trainings that are killed, stopped, started twice or that fail: nothing is lost or hidden.

``make survive`` kills each family 25 times; by default all families together are killed 25
times, each at least once.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import children
import pytest
from children import RUN, SOURCE, tiny_configs, tree

from t3vae import models
from t3vae.runtime import files, layout, seeding
from t3vae.settings import families, parameters
from t3vae.stages import prepare
from t3vae.training import loop

ROOT = Path(__file__).parents[1]
IN_ALL = 25
KILLS = int(os.environ.get("T3VAE_KILLS", 0)) or max(1, -(-IN_ALL // len(families.FAMILIES)))
STATE = "scratch/runs/*/state.safetensors"
SAVED: dict[str, int] = {}  # by family: kills that left a state to go on from


@pytest.fixture(scope="module", autouse=True)
def server() -> None:
    children.preload()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the data of the tiny experiment."""
    folder = tmp_path_factory.mktemp("survive") / "prepared"
    prepare.run(folder, tiny_configs({"family": "vae"})["prepare"], "toy")
    return folder


def model_of(family: str) -> dict[str, Any]:
    """The first model of the family in the project's parameters."""
    entries = parameters.load(ROOT / "params.yaml").models.values()
    found = next((e for e in entries if e.family == family), None)
    assert found is not None, f"params.yaml has no model of the family {family}"
    return found.model_dump(mode="json")


# --- killed at any moment -----------------------------------------------------------------


@pytest.mark.parametrize("family", list(families.FAMILIES))
def test_killed_at_random_moments(family: str, prepared: Path, tmp_path: Path) -> None:
    configs = tiny_configs(model_of(family))
    if models.model_class(family).conditional:
        prepared = shutil.copytree(prepared, tmp_path / "classes")
        children.add_classes(prepared)
        configs["evaluate"]["metrics"].remove("log_likelihood")  # not of a class's distribution
    whole = shutil.copytree(prepared, tmp_path / "whole")
    started = time.monotonic()
    child = children.start(children.pipeline, whole, configs, RUN)
    child.join()
    assert child.exitcode == 0
    duration = time.monotonic() - started
    expected = tree(whole)
    assert layout.metrics(*RUN) in expected
    assert not [name for name in expected if name.startswith("scratch")]

    moments = seeding.numpy_generator(0, f"kills/{family}")
    root = shutil.copytree(prepared, tmp_path / "killed0")
    killed = resumed = finished = 0
    while killed < KILLS:
        child = children.start(children.pipeline, root, configs, RUN)
        child.join(duration * float(moments.uniform(0.1, 1.0)))
        child.kill()
        child.join()
        if child.exitcode == -signal.SIGKILL:
            killed += 1
            resumed += any(root.glob(STATE))
        else:
            assert child.exitcode == 0
            finished += 1
            duration *= 0.8  # the machine is quicker than it was
            assert tree(root) == expected
            root = shutil.copytree(prepared, tmp_path / f"killed{finished}")
    child = children.start(children.pipeline, root, configs, RUN)
    child.join()
    assert child.exitcode == 0
    assert tree(root) == expected
    print(f"{family}: {killed} kills, {resumed} with a saved state, {finished + 1} runs finished")
    SAVED[family] = resumed


def test_kills_left_states_to_go_on_from() -> None:
    """Else the kills above would only show that a training can start afresh."""
    if set(SAVED) != set(families.FAMILIES):
        pytest.skip("not all families were killed in this run")
    assert sum(SAVED.values()) >= len(families.FAMILIES) * KILLS // 10


# --- stopped by the cluster ---------------------------------------------------------------


def command(root: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "t3vae", *arguments],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def succeed(root: Path, configs: dict[str, Any], *verbs: str, **how: Any) -> None:
    """Run steps of the tiny experiment."""
    for verb in verbs:
        done = children.t3vae(root, *children.arguments(verb, configs[verb]), **how)
        assert done.status == 0, done.err


def waited_for(root: Path, pattern: str, process: Any) -> None:
    """Wait until a file is there; the process must not end before."""
    while not any(root.glob(pattern)):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def test_sigterm_saves_and_the_next_run_goes_on(prepared: Path, tmp_path: Path) -> None:
    """A stopped run exits with 143, which a workflow counts as failed and tries again."""
    configs = tiny_configs(model_of("t3vae"))
    configs["train"]["training"]["epochs"] = configs["train"]["training"]["patience"] = 100
    root = shutil.copytree(prepared, tmp_path / "stopped")
    process = command(root, *children.arguments("train", configs["train"]))
    waited_for(root, "scratch/runs/*/lock", process)
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 143, err
    assert "Traceback" not in out + err
    assert len(list(root.glob(STATE))) == 1
    assert not (root / "results").exists()
    whole = shutil.copytree(prepared, tmp_path / "whole")
    for folder in (root, whole):
        succeed(folder, configs, "train", "sample")
    assert tree(root) == tree(whole)


# --- started twice ------------------------------------------------------------------------


def started(prepared: Path, root: Path, train: dict[str, Any]) -> Path:
    """A copy in which a training was killed after it had saved; return its state."""
    shutil.copytree(prepared, root)
    configs = {**tiny_configs(train["model"]), "train": train}
    child = children.start(children.pipeline, root, configs, RUN)
    while not any(root.glob(STATE)):
        assert child.is_alive()
        time.sleep(0.005)
    child.kill()
    child.join()
    return next(root.glob(STATE))


def test_a_second_process_touches_nothing(prepared: Path, tmp_path: Path) -> None:
    root = tmp_path / "twice"
    train = tiny_configs(model_of("vae"))["train"]
    state = started(prepared, root, train)
    with open(state.parent / "lock", "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = {path: path.stat() for path in root.rglob("*")}
        done = children.t3vae(root, *children.arguments("train", train))
        assert done.status == 1
        assert "another process is training this run. Wait for it" in done.err
        assert len(done.err.splitlines()) == 1 and done.out == ""
        after = {path: path.stat() for path in root.rglob("*")}
        assert set(before) == set(after)
        assert all(before[p].st_mtime_ns == after[p].st_mtime_ns for p in before)
    done = children.t3vae(root, *children.arguments("train", train))
    assert done.status == 0, done.err


# --- failed for good ----------------------------------------------------------------------


def test_a_retry_of_a_diverged_run_stops_at_once(prepared: Path, tmp_path: Path) -> None:
    root = shutil.copytree(prepared, tmp_path / "diverged")
    train = tiny_configs(model_of("vae"))["train"]
    train["training"]["learning_rate"] = 10.0
    first = children.t3vae(root, *children.arguments("train", train))
    assert first.status == 1 and "is not finite at epoch" in first.err
    assert "Try a smaller learning_rate" in first.err
    assert "Traceback" not in first.err
    (marker,) = root.glob("scratch/runs/*/failed.json")
    written = marker.stat().st_mtime_ns
    again = children.t3vae(root, *children.arguments("train", train))
    assert again == first
    assert marker.stat().st_mtime_ns == written  # it did not train once more
    assert not (root / "results").exists()
    train["training"]["learning_rate"] = 1e-3
    better = children.t3vae(root, *children.arguments("train", train))
    assert better.status == 0, better.err
    shutil.rmtree(marker.parent)  # as the message says
    assert "remove it to try" in first.err


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"family": "t3vae", "nu": 1.5, "beta": 1.0}, "model.nu = 1.5: must be greater than 2"),
        ({"family": "t3vea", "nu": 5.0}, "Did you mean t3vae?"),
        ({"family": "no_such:Model"}, "no_such: no such module"),
        ({"family": "pathlib:Path"}, "must be a class derived from"),
    ],
)
def test_a_retry_of_a_mistake_stops_at_once(
    change: dict[str, Any], words: str, prepared: Path, tmp_path: Path
) -> None:
    """A mistake is found before anything runs, so a retry needs no note of it."""
    root = shutil.copytree(prepared, tmp_path / "mistaken")
    train = {**tiny_configs(model_of("t3vae"))["train"], "model": change}
    before = tree(root)
    first = children.t3vae(root, *children.arguments("train", train))
    assert first.status == 2 and words in first.err, first.err
    assert "Traceback" not in first.err
    assert children.t3vae(root, *children.arguments("train", train)) == first
    assert tree(root) == before


def test_a_damaged_note_of_failure_stops_nothing(prepared: Path, tmp_path: Path) -> None:
    root = tmp_path / "noted"
    train = tiny_configs(model_of("vae"))["train"]
    state = started(prepared, root, train)
    (state.parent / "failed.json").write_text('{"key": "')
    done = children.t3vae(root, *children.arguments("train", train))
    assert done.status == 0, done.err


# --- finished, and lost all the same ------------------------------------------------------


def _no_training() -> None:
    """Let nothing be trained or validated in this process."""
    from t3vae.training.optimizer import FlatAdam

    def refuse(*_: Any) -> None:
        raise AssertionError("it trains")

    FlatAdam.step = loop._Run._validate = loop._Run._epoch = refuse


def results(root: Path) -> dict[str, bytes]:
    """The four files of the run, whole: with the seconds that it says it took."""
    return {name: (root / layout.run_file(*RUN, name)).read_bytes() for name in layout.RUN_FILES}


@pytest.fixture
def trained(prepared: Path, tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """A folder in which a training has finished and nobody has read its results."""
    root = shutil.copytree(prepared, tmp_path / "trained")
    configs = tiny_configs(model_of("factor_vae"))
    succeed(root, configs, "train")
    return root, configs


def lose(root: Path) -> None:
    """What Snakemake does with the results of a job that the scheduler calls failed."""
    shutil.rmtree(root / "results/runs")


def test_lost_results_are_written_again_without_training(
    trained: tuple[Path, dict[str, Any]],
) -> None:
    root, configs = trained
    expected = results(root)
    for _ in range(2):
        lose(root)
        succeed(root, configs, "train", before=_no_training)
        assert results(root) == expected
    (root / layout.run_file(*RUN, "history.csv")).unlink()
    succeed(root, configs, "train", before=_no_training)
    assert results(root) == expected


def test_the_final_state_is_as_small_as_the_weights(trained: tuple[Path, dict[str, Any]]) -> None:
    root, _ = trained
    (state,) = root.glob(STATE)
    tensors = files.read_tensors(state)
    weights = files.read_tensors(root / layout.run_file(*RUN, "model.safetensors"))
    assert {name.partition("/")[0] for name in tensors} == {"best"}
    assert sum(a.size for a in tensors.values()) <= sum(a.size for a in weights.values())


def test_sampling_clears_the_state(trained: tuple[Path, dict[str, Any]]) -> None:
    root, configs = trained
    (state,) = root.glob(STATE)
    shutil.copytree(state.parent, state.parents[1] / "another")
    succeed(root, configs, "sample")
    assert [path.name for path in state.parents[1].iterdir()] == ["another"]
    lose(root)
    process = children.t3vae(
        root, *children.arguments("train", configs["train"]), before=_no_training
    )
    assert process.status != 0  # now it would train: what was refused above is really needed


def test_sampling_without_weights_keeps_the_state(trained: tuple[Path, dict[str, Any]]) -> None:
    root, configs = trained
    path = root / layout.run_file(*RUN, "model.safetensors")
    whole = path.read_bytes()
    for content in (None, whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1])):
        path.unlink() if content is None else path.write_bytes(content)
        done = children.t3vae(root, *children.arguments("sample", configs["sample"]))
        assert done.status == 1 and len(list(root.glob(STATE))) == 1


def test_sampling_leaves_a_training_at_work_alone(trained: tuple[Path, dict[str, Any]]) -> None:
    root, configs = trained
    (state,) = root.glob(STATE)
    before = state.read_bytes()
    with open(state.with_name("lock"), "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        succeed(root, configs, "sample")
        assert state.read_bytes() == before
    succeed(root, configs, "sample")
    assert not state.parent.exists()


def test_the_final_state_of_another_training_is_not_used(
    trained: tuple[Path, dict[str, Any]], prepared: Path, tmp_path: Path
) -> None:
    root, configs = trained
    (state,) = root.glob(STATE)
    configs["train"]["training"]["learning_rate"] *= 2
    whole = shutil.copytree(prepared, tmp_path / "whole")
    succeed(whole, configs, "train")
    (other,) = whole.glob(STATE)
    expected = tree(whole / "results")
    lose(whole)
    shutil.copy(state, other)  # in its place, as if two keys were taken for one
    succeed(whole, configs, "train")
    assert tree(whole / "results") == expected


@pytest.mark.parametrize("at", [0, 7, 0.3, 0.95, -1])
def test_a_damaged_final_state_trains_anew(at: float, trained: tuple[Path, dict[str, Any]]) -> None:
    root, configs = trained
    expected = tree(root / "results")
    (state,) = root.glob(STATE)
    content = state.read_bytes()
    place = int(at * len(content)) if isinstance(at, float) else at
    for damaged in (
        content[:place],
        content[:place] + bytes([content[place] ^ 4]) + content[place:][1:],
    ):
        lose(root)
        state.write_bytes(damaged)
        succeed(root, configs, "train")
        assert tree(root / "results") == expected


def test_the_state_is_kept_until_all_is_written(prepared: Path, tmp_path: Path) -> None:
    root = tmp_path / "full"
    configs = tiny_configs(model_of("vae"))
    train = configs["train"]
    state = started(prepared, root, train)
    target = layout.under(root, layout.run_file(*RUN, "model.safetensors"))
    target.mkdir(parents=True)  # a folder in its place: the file cannot be written
    done = children.t3vae(root, *children.arguments("train", train))
    assert done.status == 1 and "cannot be written" in done.err
    assert state.exists()
    target.rmdir()
    done = children.t3vae(root, *children.arguments("train", train))
    assert done.status == 0, done.err
    assert state.exists()
    succeed(root, configs, "sample")
    assert not state.parent.exists()
    assert json.loads((target.parent / "provenance.json").read_text())["epochs"] == 14
