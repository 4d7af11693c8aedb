"""New, replaced and removed files of the user are seen, and files that are away are no change."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import image_files as make
import numpy as np
import pytest
from copies import CHECKOUT, call, change, copy_code, jobs

from t3vae.datasets import raw_input
from t3vae.errors import DataError
from t3vae.runtime import files, layout
from t3vae.settings import parameters
from t3vae.settings.sources import SOURCES
from t3vae.stages import prepare
from t3vae.workflow import check
from t3vae.workflow.plan import Plan

SETTINGS = {
    "folder": "mine",
    "size": 8,
    "imbalance": None,
    "test_fraction": 0.25,
    "validation_fraction": 0.34,
}
PLACE = {"source": "image_folder", "folder": "mine", "dataset": "pics"}


@pytest.fixture
def rng():
    return np.random.default_rng(11)


def images(root: Path, rng, count: int = 12) -> Path:
    make.image_folder(root / "mine", rng, {"": {"cat": count, "dog": count}})
    return root / "mine"


def now(root: Path, **fields) -> dict[str, str]:
    return raw_input.digests({**PLACE, **fields}, root)


def older(path: Path) -> None:
    """As if all files had been there for an hour; their numbers and names stay."""
    for file in (path, *path.rglob("*")):
        os.utime(file, ns=(time.time_ns(), time.time_ns() - 3_600_000_000_000))


# --- the digest ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("alter", "same"),
    [
        (older, True),
        (lambda f: (f / "cat/.hidden").write_text("x"), True),
        (lambda f: (f / ".DS_Store").write_text("x"), True),
        (lambda f: shutil.copy(f / "cat/0001.png", f / "cat/new.png"), False),
        (lambda f: (f / "cat/0001.png").unlink(), False),
        (lambda f: (f / "cat/0001.png").rename(f / "dog/9999.png"), False),
        (lambda f: (f / "cat/0001.png").rename(f / "cat/9999.png"), False),
        (lambda f: shutil.copy(f / "dog/0001.png", f / "cat/0001.png"), False),
        (lambda f: (f / "empty").mkdir(), False),
    ],
)
def test_content_and_names_count_and_times_do_not(tmp_path, rng, alter, same):
    folder = images(tmp_path, rng)
    before = now(tmp_path)
    assert list(before) == ["mine"] and now(tmp_path) == before
    alter(folder)
    assert (now(tmp_path) == before) == same


def test_a_copy_elsewhere_has_the_same_digest(tmp_path, rng):
    images(tmp_path / "a", rng)
    shutil.copytree(tmp_path / "a/mine", tmp_path / "b/mine")
    assert now(tmp_path / "a") == now(tmp_path / "b")


def test_an_archive_counts_by_its_bytes(tmp_path, rng):
    make.pack(tmp_path / "p.zip", images(tmp_path, rng))
    before = now(tmp_path, folder="p.zip")
    assert list(before) == ["p.zip"]
    older(tmp_path)
    assert now(tmp_path, folder="p.zip") == before
    images(tmp_path, rng, 13)
    make.pack(tmp_path / "p.zip", tmp_path / "mine")
    assert now(tmp_path, folder="p.zip") != before


@pytest.mark.parametrize("key", ["file", "folder"])
def test_files_of_an_imported_source_are_followed(tmp_path, key):
    table = tmp_path / "rows.csv"
    table.write_text("a,b\n1,2\n")
    config = {"source": "my_rows:read", key: "rows.csv"}
    first = raw_input.digests(config, tmp_path)
    table.write_text("a,b\n1,3\n")
    assert first and raw_input.digests(config, tmp_path) != first
    assert raw_input.digests({"source": "my_rows:read", "seed": 3}, tmp_path) == {}


def test_nothing_is_read_again_while_nothing_changes(tmp_path, rng, monkeypatch):
    folder = images(tmp_path, rng)
    monkeypatch.setattr(raw_input, "SETTLED", -60.0)  # as if the files were old
    asked: list[Path] = []
    real = raw_input.file_digest
    monkeypatch.setattr(raw_input, "file_digest", lambda path: asked.append(path) or real(path))
    before = now(tmp_path)
    assert len(asked) == 24
    assert now(tmp_path) == before and len(asked) == 24
    # other bytes of the same number, with the same time stamp
    file = folder / "cat/0003.png"
    status, content = file.stat(), file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert now(tmp_path) != before and len(asked) == 48


def test_young_files_are_read_each_time(tmp_path, rng, monkeypatch):
    """Within one tick of the file system's clock a second change would leave no trace."""
    images(tmp_path, rng)
    monkeypatch.setattr(raw_input, "SETTLED", 3600.0)
    now(tmp_path)
    assert not (tmp_path / "scratch").exists()


def test_a_damaged_note_is_no_harm(tmp_path, rng, monkeypatch):
    images(tmp_path, rng)
    monkeypatch.setattr(raw_input, "SETTLED", -60.0)
    before = now(tmp_path)
    (note,) = (tmp_path / "scratch/raw").iterdir()
    for text in ("", "[]", "{}", '{"files": 3}'):
        note.write_text(text)
        assert now(tmp_path) == before


def test_what_is_not_there_has_no_digest(tmp_path):
    assert now(tmp_path) == {}
    (tmp_path / "mine/cat").mkdir(parents=True)
    assert now(tmp_path) == {}  # a disk that is not mounted leaves an empty folder
    os.mkfifo(tmp_path / "pipe")
    assert now(tmp_path, folder="pipe") == {}
    os.mkfifo(tmp_path / "mine/cat/1.png")
    assert now(tmp_path) == {}


def test_a_pipe_beside_images_is_not_opened(tmp_path, rng):
    before = now(tmp_path), images(tmp_path, rng)
    os.mkfifo(tmp_path / "mine/cat/pipe.png")
    assert now(tmp_path) != before


def test_a_file_that_may_not_be_read_is_named(tmp_path, rng, monkeypatch):
    images(tmp_path, rng)

    def refuse(path):
        raise DataError(f"{path}: cannot be read (Permission denied).")

    monkeypatch.setattr(raw_input, "file_digest", refuse)
    with pytest.raises(DataError, match=r"mine/cat/0000.png: cannot be read"):
        now(tmp_path)


def test_a_home_that_does_not_exist_is_said(tmp_path):
    with pytest.raises(DataError, match=r"datasets.pics.folder = ~nobody-here/x: .* whole path"):
        now(tmp_path, folder="~nobody-here/x")


@pytest.mark.parametrize("source", ["cifar10", "cifar100", "svhn", "celeba"])
def test_published_files_are_fixed_by_checksums_in_the_code(tmp_path, source):
    config = {"dataset": "pics", **SOURCES[source].options(source=source).model_dump(mode="json")}
    folder = tmp_path / config["folder"]
    folder.mkdir(parents=True)
    (folder / "something.zip").write_bytes(b"x")
    assert raw_input.digests(config, tmp_path) == {}


def test_unpacked_faces_are_the_user_s_files(tmp_path, rng):
    place = "data/raw/celeba/img_align_celeba"
    make.image(tmp_path / place / "000001.jpg", make.random_images(rng, 1)[0].transpose(1, 2, 0))
    assert list(now(tmp_path, source="celeba", folder="data/raw/celeba")) == [place]


def test_every_source_with_files_is_followed_or_fixed():
    fixed = {"cifar10", "cifar100", "svhn"}
    for name, source in SOURCES.items():
        files_of_user = {"folder", "file"} & set(source.options.model_fields)
        assert bool(files_of_user) == (source.raw is not None or name in fixed), name


# --- t3vae check ---------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path, rng):
    """A root whose suite has one prepared data set, of the images in ``mine``."""
    shutil.copy(CHECKOUT / "params.yaml", tmp_path / "params.yaml")
    change(tmp_path, {"suite": "smoke", "suites.smoke": ["digits_smoke"]})
    settings = {"source": "image_folder", **SETTINGS}
    change(tmp_path, {"datasets.digits_lt": settings})
    images(tmp_path, rng)
    prepare_again(tmp_path)
    return tmp_path


def prepare_again(root: Path) -> None:
    job = Plan(parameters.load(root / "params.yaml")).prepare("digits_lt")
    prepare.run(root, job.config, "digits_lt")


def found(root: Path) -> list[tuple[str, str]]:
    plan = Plan(parameters.load(root / "params.yaml"))
    return [(f.kind, f.reason) for f in check.examine(root, plan, verbs=["prepare"])]


STALE = [("stale", "files in mine changed")]


@pytest.mark.parametrize(
    "alter",
    [
        lambda f: shutil.copy(f / "cat/0001.png", f / "cat/new.png"),
        lambda f: (f / "cat/0001.png").unlink(),
        lambda f: shutil.copy(f / "dog/0001.png", f / "cat/0001.png"),
        lambda f: shutil.rmtree(f / "dog"),
    ],
)
def test_changed_images_are_stale_until_they_are_prepared(tree, alter):
    assert found(tree) == []
    alter(tree / "mine")
    assert found(tree) == STALE
    if (tree / "mine/dog").exists():
        prepare_again(tree)
        assert found(tree) == []


def test_what_follows_changed_images_follows(tree):
    images(tree, np.random.default_rng(1), 13)
    plan = Plan(parameters.load(tree / "params.yaml"))
    for path in plan.extractor("digits_lt").outputs:
        files.write_json(tree / path, {})
    reasons = {f.path: f.reason for f in check.examine(tree, plan) if f.kind == "stale"}
    record = layout.extractor("digits_lt")[1]
    assert reasons[layout.manifest("digits_lt")] == STALE[0][1] and record in reasons


@pytest.mark.parametrize("empty", [False, True])
def test_images_that_are_away_are_no_change(tree, empty):
    """A clone that pulled the prepared data; a disk that is not mounted."""
    before = raw_input.trigger({**PLACE, "dataset": "digits_lt"}, tree)
    shutil.rmtree(tree / "mine")
    if empty:
        (tree / "mine").mkdir()
    assert found(tree) == []
    assert raw_input.trigger({**PLACE, "dataset": "digits_lt"}, tree) == before != ""


def test_images_named_anew_are_a_changed_setting(tree):
    (tree / "mine").rename(tree / "yours")
    change(tree, {"datasets.digits_lt.folder": "yours"})
    assert found(tree) == [("stale", "settings changed: folder mine -> yours")]


# --- Snakemake -----------------------------------------------------------------------------

TARGET = layout.manifest("folder_lt")


@pytest.mark.workflow
def test_the_workflow_prepares_changed_images_again(tmp_path, rng):
    copy = copy_code(tmp_path / "copy")
    change(copy, {f"datasets.folder_lt.{key}": value for key, value in SETTINGS.items()})
    assert raw_input.trigger({**PLACE, "dataset": "folder_lt"}, copy) == ""
    assert jobs(copy, TARGET) == {"prepare folder_lt"}  # planned without any image
    folder = images(copy, rng)
    done = call(copy, "snakemake", "-j1", TARGET)
    assert done.returncode == 0, done.stdout + done.stderr
    assert jobs(copy, TARGET) == set()
    shutil.copy(folder / "cat/0001.png", folder / "dog/new.png")
    assert jobs(copy, TARGET) == {"prepare folder_lt"}
    (folder / "dog/new.png").unlink()
    older(folder)
    assert jobs(copy, TARGET) == set()
    shutil.rmtree(folder)
    assert jobs(copy, TARGET) == set()


@pytest.mark.workflow
def test_a_folder_that_search_paths_divide_is_refused(tmp_path):
    copy = copy_code(tmp_path / "10:21:15")
    done = call(copy, "snakemake", "-n", layout.manifest("constants"))
    assert done.returncode == 2 and "Rename or move it" in done.stderr, done.stderr
    assert f"{copy}" in done.stderr and "Traceback" not in done.stderr
