"""Atomic writes and checked reads."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from t3vae.errors import DataError
from t3vae.runtime import files, seeding


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    files.write_text(path, "old")

    def write_half() -> None:
        with files.atomic(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_file_as_folder_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        files.write_text(tmp_path / "a/b.txt", "x")


def test_files_get_the_usual_rights(tmp_path: Path) -> None:
    files.write_text(tmp_path / "a", "x")
    (tmp_path / "b").write_text("x")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_what_a_killed_writer_left_is_removed(tmp_path: Path) -> None:
    """But not the file of a writer that lives, nor that of another file."""
    dead, other = tmp_path / ".a.txt.x1.part", tmp_path / ".b.txt.x1.part"
    dead.write_text("half")
    other.write_text("half")
    with files.atomic(tmp_path / "a.txt") as living:
        files.write_text(tmp_path / "a.txt", "first")
        assert living.exists()
        living.write_text("second")
    assert (tmp_path / "a.txt").read_text() == "second"
    assert sorted(os.listdir(tmp_path)) == [".b.txt.x1.part", "a.txt"]


@pytest.mark.parametrize("array", [np.float32(3.0), np.zeros((0, 2)), np.arange(5)[::2], [True]])
def test_arrays_are_written_as_numpy_writes_them(tmp_path: Path, array) -> None:
    files.write_npy(tmp_path / "a.npy", array)
    np.save(tmp_path / "b.npy", array)
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_json_refuses_what_json_cannot_say(tmp_path: Path, value: float) -> None:
    with pytest.raises(DataError, match="infinite or not a number"):
        files.write_json(tmp_path / "a.json", {"a": value})
    assert not (tmp_path / "a.json").exists()


@pytest.mark.parametrize("text", ["", "{", "[NaN]", "[Infinity]", "\xff", "[" * 100_000])
def test_bad_json_is_one_message(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match="not readable as JSON"):
        files.read_json(path)


def test_arrays_round_trip_and_cuts_are_found(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    files.write_npy(path, array)
    np.testing.assert_array_equal(files.read_npy(path), array)
    content = path.read_bytes()
    for cut in (0, 3, 8, 40, len(content) - 1):
        path.write_bytes(content[:cut])
        with pytest.raises(DataError, match="damaged"):
            files.read_npy(path)


def test_object_arrays_are_never_read(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError):
        files.read_npy(path)


def test_tensors_round_trip_with_scalars_and_header(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    given = {"b": np.array(3.0, np.float32), "a": np.arange(6).reshape(2, 3)}
    files.write_tensors(path, given, {"key": "value"})
    read = files.read_tensors(path)
    assert read["b"].shape == ()
    np.testing.assert_array_equal(read["a"], given["a"])
    assert files.read_tensors_header(path) == {"key": "value"}
    first = path.read_bytes()
    files.write_tensors(path, dict(reversed(given.items())), {"key": "value"})
    assert path.read_bytes() == first


def test_tensors_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'a'"):
        files.write_tensors(tmp_path / "a.safetensors", {"a": np.array([1.0, np.nan])})


def test_damaged_tensor_files_are_one_message(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    files.write_tensors(path, {"a": np.zeros(100, np.float32)}, {"key": "value"})
    content = path.read_bytes()
    for cut in (0, 4, 8, 30, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:cut])
        with pytest.raises(DataError, match="damaged"):
            files.read_tensors(path)
    path.write_bytes(b"\xff" * 64)
    with pytest.raises(DataError, match="damaged"):
        files.read_tensors_header(path)


def test_streams_do_not_meet() -> None:
    seeds = {
        seeding.derive(root, stream, index)
        for root in range(5)
        for stream in ("a", "b", "a/1")
        for index in range(50)
    }
    assert len(seeds) == 5 * 3 * 50
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_seeds_are_the_same_everywhere() -> None:
    """A changed rule would silently change every result."""
    assert seeding.derive(0, "train/noise", 0) == 8638767541203637343
