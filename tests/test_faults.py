"""Faults of the machine and of files: one message with its remedy, or a result as if nothing was.

Each fault is made for the steps that it can meet. The message is one line on standard error,
the status is 1, and neither a half-written file nor a leftover is there afterwards.
"""

from __future__ import annotations

import json
import os
import pickle
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import children
import numpy as np
import pytest
import torch
from children import NOBODY, RUN, Done, tiny_configs, tree

from t3vae.runtime import files, layout

CONFIGS = tiny_configs({"family": "t3vae", "nu": 9.0, "beta": 1.0})
VERBS = ("prepare", "train", "sample", "evaluate", "collect", "figure")
MODEL, CONFIG, HISTORY, _ = (layout.run_file(*RUN, name) for name in layout.RUN_FILES)
SAMPLES, METRICS = layout.samples(*RUN), layout.metrics(*RUN)
MADE = {
    "prepare": "data",
    "train": "results/runs",
    "sample": "results/samples",
    "evaluate": "results/metrics",
    "collect": "results/tables",
    "figure": "results/figures",
}
DATA = "data/prepared/toy"


def step(root: Path, verb: str, **how: Any) -> Done:
    return children.t3vae(root, *children.arguments(verb, CONFIGS[verb]), **how)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every step has run."""
    children.preload()
    folder = tmp_path_factory.mktemp("faults") / "finished"
    folder.mkdir()
    for verb in VERBS:
        done = step(folder, verb)
        assert done.status == 0, done.err
    return folder


@pytest.fixture
def root(finished: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished, tmp_path / "root")


def without(root: Path, verb: str) -> dict[str, bytes]:
    """Remove what a step made; return what is left."""
    shutil.rmtree(root / MADE[verb])
    return tree(root)


def as_before(root: Path, verb: str, finished: Path) -> None:
    """Run a step; then all is as it was. The state of a training goes when it is sampled."""
    for each in ("train", "sample") if verb == "train" else (verb,):
        done = step(root, each)
        assert done.status == 0, done.err
    assert tree(root) == tree(finished)


def refused(done: Done, *words: str) -> None:
    assert done.status == 1, done
    assert len(done.err.splitlines()) == 1 and done.err.startswith("t3vae: "), done.err
    assert done.out == ""
    for word in words:
        assert word in done.err


# --- no space, no rights, no memory -------------------------------------------------------


@pytest.fixture(scope="module")
def small_disk() -> Iterator[Path]:
    """A file system of two megabytes."""
    place = Path(tempfile.mkdtemp(prefix="t3vae-disk-"))
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        place.rmdir()
        pytest.skip("mounting is refused; the limit of file sizes is tested instead")
    yield place
    subprocess.run(["umount", str(place)], check=True)
    place.rmdir()


def filled(disk: Path) -> Path:
    """Use all the space that is left."""
    filler = disk / "filler"
    with open(filler, "wb", buffering=0) as stream, suppress(OSError):
        while True:
            stream.write(bytes(4096))
    return filler


@pytest.mark.parametrize("verb", VERBS)
def test_disk_full(verb: str, finished: Path, small_disk: Path) -> None:
    root = small_disk / "root"
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(finished, root)
    before = without(root, verb)
    filler = filled(small_disk)
    done = step(root, verb, streams=finished.parent / "full")
    refused(done, "cannot be written (No space left on device)", "free space", "run again")
    assert {name: c for name, c in tree(root).items() if not name.startswith("scratch")} == before
    filler.unlink()
    as_before(root, verb, finished)


@pytest.mark.parametrize("verb", VERBS[:3])
def test_limit_of_file_sizes(verb: str, finished: Path, root: Path) -> None:
    """What a quota does: a file stops in the middle."""
    before = without(root, verb)
    limit = {"prepare": 2000, "train": 1000, "sample": 5000}
    done = step(root, verb, limits={resource.RLIMIT_FSIZE: limit[verb]})
    refused(done, "cannot be written (File too large)", "run again")
    left = tree(root)
    assert not [name for name in left if name.endswith(".part")]
    for name, content in left.items():  # a file is whole or not there
        if not name.startswith("scratch"):
            assert content == before.get(name, tree(finished)[name])
    as_before(root, verb, finished)


@pytest.mark.parametrize("verb", VERBS)
def test_a_folder_that_cannot_be_written(verb: str, finished: Path) -> None:
    """As a user without rights; the administrator may write anywhere."""
    place = Path(tempfile.mkdtemp(prefix="t3vae-rights-"))
    try:
        root = shutil.copytree(finished, place / "root")
        before = without(root, verb)
        for folder in (place, root, *(path for path in root.rglob("*") if path.is_dir())):
            folder.chmod(0o555)
        done = step(
            root,
            verb,
            user=NOBODY if os.geteuid() == 0 else None,
            streams=finished.parent / "rights",
        )
        refused(done, "cannot be written (Permission denied)", "rights", "run again")
        assert tree(root) == before
    finally:
        for folder in (place, *(path for path in place.rglob("*") if path.is_dir())):
            folder.chmod(0o755)
        shutil.rmtree(place)


def test_out_of_memory(root: Path) -> None:
    before = without(root, "sample")
    config = json.loads(json.dumps(CONFIGS["sample"]))
    config["sampling"]["samples"] = 100_000_000
    done = children.t3vae(root, *children.arguments("sample", config), memory=100_000_000)
    refused(done, "out of memory", "larger machine")
    assert tree(root) == before


# --- damaged files ------------------------------------------------------------------------


def flip(path: Path, at: float = 0.5) -> None:
    content = bytearray(path.read_bytes())
    content[min(int(at * len(content)), len(content) - 1)] ^= 0x10
    path.write_bytes(content)


def unchanged(root: Path, verb: str, *words: str) -> None:
    """A step that could write again refuses, and leaves all as it was."""
    before = tree(root)
    refused(step(root, verb), *words)
    assert tree(root) == before


@pytest.mark.parametrize("at", [0.03, 1.0])
@pytest.mark.parametrize(
    ("array", "verbs"),
    [
        ("train", ["train", "sample"]),
        ("validation", ["train"]),
        ("test", ["sample", "evaluate", "collect"]),
    ],
)
def test_flipped_bit_in_prepared_data(array: str, verbs: list[str], at: float, root: Path) -> None:
    flip(root / DATA / f"{array}.npy", at)
    for verb in verbs:
        unchanged(root, verb, f"{array}.npy", "Delete")


@pytest.mark.parametrize("text", ["0.6", "-2.0", '"nu": 5.0', "t_mixture_1d"])
def test_changed_manifest(text: str, root: Path) -> None:
    path = root / DATA / "manifest.json"
    content = path.read_text()
    assert text in content
    path.write_text(content.replace(text, text[:-1] + ("1" if text[-1] != "1" else "2"), 1))
    for verb in ("train", "sample", "evaluate", "collect"):
        unchanged(root, verb, "manifest.json", "run `t3vae prepare` again")


def test_flipped_bits_in_a_manifest(root: Path) -> None:
    """Wherever the bit is, the metrics are right or there are none."""
    path = root / DATA / "manifest.json"
    content = path.read_bytes()
    expected = (root / METRICS).read_bytes()
    for at in np.linspace(0.0, 1.0, 8):
        path.write_bytes(content)
        flip(path, float(at))
        (root / METRICS).unlink(missing_ok=True)
        done = step(root, "evaluate")
        if done.status == 0:
            made, whole = json.loads((root / METRICS).read_bytes()), json.loads(expected)
            assert made["metrics"] == whole["metrics"]
        else:
            refused(done)
            assert not (root / METRICS).exists()


CUTS = [0, 5, 8, 60, 0.5, 0.9, -1]


def cut(path: Path, at: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(at * len(content)) if isinstance(at, float) else at])


@pytest.mark.parametrize("at", CUTS)
def test_cut_weights(at: float, root: Path) -> None:
    cut(root / MODEL, at)
    unchanged(root, "sample", "model.safetensors: damaged", "Delete it to remake it")
    unchanged(root, "evaluate", "model.safetensors: damaged", "Delete it to remake it")


@pytest.mark.parametrize("at", CUTS)
def test_cut_samples(at: float, root: Path) -> None:
    cut(root / SAMPLES, at)
    unchanged(root, "evaluate", "seed0.safetensors: damaged", "Delete it to remake it")
    unchanged(root, "collect", "seed0.safetensors: damaged", "Delete it to remake it")


@pytest.mark.parametrize("at", [0.0, 0.3, 0.6, 1.0])
def test_flipped_bit_in_weights_and_samples(at: float, root: Path) -> None:
    flip(root / SAMPLES, max(at, 0.01))
    unchanged(root, "evaluate", "damaged")
    unchanged(root, "collect", "damaged")
    flip(root / MODEL, max(at, 0.01))
    unchanged(root, "sample", "model.safetensors")


@pytest.mark.parametrize(
    ("file", "verb"),
    [
        (METRICS, "collect"),
        (HISTORY, "collect"),
        (f"{layout.table('tiny', 'history.csv')}", "figure"),
    ],
)
@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b'{"metrics": ', b"epoch\n1,2\n"])
def test_damaged_text(file: str, verb: str, content: bytes, root: Path) -> None:
    (root / file).write_bytes(content)
    unchanged(root, verb)


@pytest.mark.parametrize("at", [0, 60, 0.9, -1, "flip"])
def test_cut_state_is_made_again(at: float | str, finished: Path, root: Path) -> None:
    without(root, "train")
    child = children.start(children.pipeline, root, CONFIGS, RUN)
    while not (found := list(root.glob("scratch/runs/*/state.safetensors"))):
        assert child.is_alive()
        time.sleep(0.005)
    child.kill()
    child.join()
    if at == "flip":
        flip(found[0], 0.7)
    else:
        cut(found[0], float(at) if isinstance(at, float) else int(at))
    as_before(root, "train", finished)


# --- files that do not belong together ----------------------------------------------------


@pytest.fixture(scope="module")
def other(finished: Path) -> Path:
    """The run of a model of another architecture, in a folder of its own."""
    folder = finished.parent / "other"
    shutil.copytree(finished / "data", folder / "data")
    config = json.loads(json.dumps(CONFIGS["train"]))
    config["network"]["hidden"] = [5]
    done = children.t3vae(folder, *children.arguments("train", config))
    assert done.status == 0, done.err
    return folder


@pytest.mark.parametrize("file", [MODEL, CONFIG])
def test_files_of_another_run(file: str, other: Path, root: Path) -> None:
    shutil.copy(other / file, root / file)
    for verb in ("sample", "evaluate"):
        unchanged(root, verb, "config.json: not the configuration", "train again")


def test_weights_of_another_architecture(other: Path, root: Path) -> None:
    header = files.read_tensors_header(root / MODEL)
    files.write_tensors(root / MODEL, files.read_tensors(other / MODEL), header)
    unchanged(root, "sample", "weights of another architecture", "Train the model again")
    unchanged(root, "evaluate", "weights of another architecture", "Train the model again")


def test_weights_of_another_format(root: Path) -> None:
    header, tensors = files.read_tensors_header(root / MODEL), files.read_tensors(root / MODEL)
    description = {**json.loads(header["description"]), "format": 99}
    header["description"] = json.dumps(description)
    files.write_tensors(root / MODEL, tensors, header)
    unchanged(root, "sample", "format 99", "use the version that wrote the file")


@pytest.mark.parametrize("content", [{}, [], {"model": {}}, {"version": 2}, "text", None])
def test_run_configuration_of_another_version(content: Any, root: Path) -> None:
    files.write_json(root / CONFIG, content)
    for verb in ("sample", "evaluate"):
        unchanged(root, verb, "config.json", "train again")


@pytest.mark.parametrize("content", [{}, [], {"config": {}}, "text", {"arrays": 3}])
def test_manifest_of_another_version(content: Any, root: Path) -> None:
    files.write_json(root / DATA / "manifest.json", content)
    for verb in ("train", "sample", "evaluate", "collect"):
        unchanged(root, verb, "manifest.json", "run `t3vae prepare` again")


@pytest.mark.parametrize("verb", VERBS)
def test_job_configuration_of_another_version(verb: str, root: Path) -> None:
    before = tree(root)
    config = {**CONFIGS[verb], "extra": 1}
    config.pop("seed", None)
    done = children.t3vae(root, *children.arguments(verb, config))
    assert done.status == 2 and "extra" in done.err
    assert "not a configuration of this version" in done.err and "Traceback" not in done.err
    assert tree(root) == before


# --- the clock ----------------------------------------------------------------------------


def _backwards() -> None:
    now = [2_000_000_000.0]

    def back() -> float:
        now[0] -= 1000.0
        return now[0]

    time.time = back


@pytest.mark.parametrize(
    ("year", "verbs"), [(1971, ["train", "sample", "collect"]), (2100, VERBS[1:])]
)
def test_clock_set_to_another_time(year: int, verbs: list[str], finished: Path, root: Path) -> None:
    moment = (year - 1970) * 365.25 * 86400
    for verb in verbs:
        without(root, verb)
        for path in root.rglob("*"):
            os.utime(path, (moment, moment))
        done = step(root, verb, before=_backwards)
        assert done.status == 0, done.err
    assert tree(root) == tree(finished)
    record = json.loads((root / layout.run_file(*RUN, "provenance.json")).read_text())
    assert 0 <= record["seconds"] < 1000


# --- nothing untrusted runs ---------------------------------------------------------------


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch ran",)


def test_pickles_in_the_place_of_our_files(root: Path) -> None:
    torch.save({"weights": Evil()}, root / MODEL)
    unchanged(root, "sample", "model.safetensors")
    (root / SAMPLES).write_bytes(pickle.dumps(Evil()))
    unchanged(root, "collect", "seed0.safetensors: damaged")
    for content in (pickle.dumps(Evil()), None):
        path = root / DATA / "test.npy"
        if content is None:
            np.save(path, np.array([Evil()], dtype=object), allow_pickle=True)
        else:
            path.write_bytes(content)
        unchanged(root, "collect", "test.npy: damaged")
    assert not (root / "ran").exists()


@pytest.mark.parametrize(
    "name", ["a;touch ran", "$(touch ran)", "../../up", "/abs", "a b", "A", "", "a\nb", "-x"]
)
def test_names_that_mean_something_to_a_shell(name: str, root: Path) -> None:
    before = tree(root)
    run = ["--model", "model", "--seed", "0", "--config", json.dumps(CONFIGS["train"])]
    done = children.t3vae(root, "train", f"--experiment={name}", *run, "--device", "cpu")
    assert done.status == 2 and "lower-case letters" in done.err
    done = children.t3vae(
        root, "prepare", f"--dataset={name}", "--config", json.dumps(CONFIGS["prepare"])
    )
    assert done.status == 2 and "lower-case letters" in done.err
    assert tree(root) == before
