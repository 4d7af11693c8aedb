"""Images that are in a data set twice: on one side of every split, or named."""

from __future__ import annotations

import os
import shutil
import unicodedata
from pathlib import Path

import image_files as make
import numpy as np
import pytest

from t3vae import datasets
from t3vae.datasets.labelled import Images, assemble
from t3vae.datasets.prepared import Prepared
from t3vae.errors import ConfigError, DataError
from t3vae.settings.sources import SOURCES
from t3vae.stages import prepare

SPLITS = ("train", "validation", "test")


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def run(root: Path, **fields):
    fields = {
        "source": "image_folder", "folder": "images", "size": 8, "test_fraction": 0.3,
        "validation_fraction": 0.34, **fields,
    }  # fmt: skip
    options = SOURCES["image_folder"].options(**fields)
    config = {"dataset": "pics", **options.model_dump(mode="json")}
    prepare.run(root, config, "pics")
    data = Prepared(root, "pics")
    arrays = {
        name.removesuffix(".npy"): data.array(name.removesuffix(".npy"))
        for name in datasets.names(config)
    }
    seen: set[bytes] = set()
    for split in SPLITS:
        inside = {image.tobytes() for image in arrays[split]}
        assert inside and not inside & seen
        seen |= inside
    counts = data.manifest["class_counts"]
    assert len(set(counts["test"])) == 1 and min(counts["test"]) > 0
    assert min(counts["train"]) > 0 and min(counts["validation"]) > 0
    return data.manifest, arrays


def twice(folder: Path) -> None:
    """Put a copy of each image beside it."""
    for path in sorted(folder.rglob("*.png")):
        shutil.copy(path, path.with_name(f"copy_of_{path.name}"))


def test_a_split_made_here_keeps_copies_on_one_side(tmp_path, rng):
    make.image_folder(tmp_path / "images", rng, {"": {"cat": 12, "dog": 15}})
    _, plain = run(tmp_path)
    twice(tmp_path / "images")
    manifest, arrays = run(tmp_path)
    # the fraction is one of different images, so that as many are set aside
    for split in ("validation", "test"):
        assert len(arrays[split]) == len(plain[split])
        assert len({image.tobytes() for image in arrays[split]}) == len(arrays[split])
    held = len(arrays["test"]) + len(arrays["validation"])
    assert len(arrays["full_train"]) == 2 * (12 + 15) - 2 * held
    assert len(manifest["dropped"]["train"]) == held
    assert manifest["dropped"]["test"] == manifest["dropped"]["validation"] == []
    names = manifest["dropped_files"]["train"]
    assert all((tmp_path / "images" / name).is_file() for name in names) and len(names) == held


def test_without_copies_nothing_is_left_out(tmp_path, rng):
    make.image_folder(tmp_path / "images", rng, {"": {"cat": 12, "dog": 15}})
    manifest, _ = run(tmp_path)
    nothing = {"train": [], "validation": [], "test": []}
    assert manifest["dropped"] == nothing == manifest["dropped_files"]
    assert manifest["class_counts"]["full_train"] == [9, 12]


def test_copies_in_another_class_are_left_out_too(tmp_path, rng):
    make.image_folder(tmp_path / "images", rng, {"": {"cat": 10, "dog": 20}})
    for path in sorted((tmp_path / "images/cat").iterdir()):
        shutil.copy(path, tmp_path / "images/dog" / f"as_{path.name}")
    manifest, _ = run(tmp_path)
    assert manifest["dropped_files"]["train"]
    assert all(name.startswith("dog/as_") for name in manifest["dropped_files"]["train"])


def test_too_few_different_images_are_said(tmp_path, rng):
    make.image_folder(tmp_path / "images", rng, {"": {"cat": 3, "dog": 30}})
    for number in range(9):
        shutil.copy(tmp_path / "images/cat/0000.png", tmp_path / f"images/cat/more{number}.png")
    with pytest.raises(ConfigError, match="of the 3 different images of class cat for testing"):
        run(tmp_path, test_fraction=0.4)


@pytest.mark.parametrize("every", [True, False])
def test_validation_images_are_taken_from_a_test_folder_with_copies(tmp_path, rng, every):
    counts = {"train": {"cat": 12, "dog": 12}, "test": {"cat": 9, "dog": 9}}
    make.image_folder(tmp_path / "images", rng, counts)
    if every:
        twice(tmp_path / "images/test")
    else:  # the first of each class three times
        for kind in ("cat", "dog"):
            for number in range(3):
                path = tmp_path / f"images/test/{kind}/0000.png"
                shutil.copy(path, path.with_name(f"more{number}.png"))
    manifest, arrays = run(tmp_path)
    assert manifest["class_counts"]["validation"] == [3, 3]
    if every:  # their copies are no test images
        assert len(manifest["dropped"]["test"]) == 6
        assert manifest["class_counts"]["test"] == [12, 12]
        assert all(name.startswith("test/") for name in manifest["dropped_files"]["test"])
    else:  # enough images have no copy, so that the test set is what the folder says
        assert manifest["dropped"]["test"] == []
        assert manifest["class_counts"]["test"] == [9, 9]
    rows = np.concatenate([arrays["test_index"], arrays["validation_index"]])
    assert len(set(rows.tolist())) == len(rows)


def test_folders_that_share_images_are_named(tmp_path, rng):
    counts = {"train": {"cat": 12, "dog": 12}, "test": {"cat": 9, "dog": 9}}
    make.image_folder(tmp_path / "images", rng, counts)
    shutil.copytree(tmp_path / "images/test/dog", tmp_path / "images/train/dog", dirs_exist_ok=True)
    with pytest.raises(DataError, match="no separate sets") as caught:
        run(tmp_path)
    text = str(caught.value)
    first = next(w for w in text.replace(",", " ").split() if w.startswith("train/dog/"))
    second = next(w for w in text.replace(",", " ").split() if w.startswith("test/dog/"))
    images = tmp_path / "images"
    assert (images / first).read_bytes() == (images / second).read_bytes()


def test_a_validation_folder_of_test_images_is_named(tmp_path, rng):
    counts = {"train": {"cat": 12, "dog": 12}, "test": {"cat": 9, "dog": 9}}
    make.image_folder(tmp_path / "images", rng, counts)
    shutil.copytree(tmp_path / "images/test", tmp_path / "images/validation")
    match = r"every validation image is also a test image, as validation/cat/\d+.png and test/cat/"
    with pytest.raises(DataError, match=match):
        run(tmp_path)


def test_images_without_files_are_named_by_number(rng):
    images = make.random_images(rng, 24, 4)
    labels = np.arange(24) % 2
    config = {
        "dataset": "pics", "seed": 0, "validation_fraction": 0.34, "flip": False,
        "imbalance": None, "profile": "step",
    }  # fmt: skip
    with pytest.raises(DataError, match=r"as train image \d+ and (test|validation) image \d+,"):
        assemble(config, "ab", Images(images, labels), Images(images, labels), sources={})


# --- names of classes ----------------------------------------------------------------------


def test_composed_and_decomposed_classes_are_one(tmp_path, rng):
    for split, form, count in (("train", "NFC", 12), ("test", "NFD", 9)):
        kinds = {unicodedata.normalize(form, "caf\u00e9"): count, "dog": count}
        make.image_folder(tmp_path / "images", rng, {split: kinds})
    manifest, _ = run(tmp_path)
    assert manifest["classes"] == ["caf\u00e9", "dog"]


def test_classes_that_differ_in_capital_letters(tmp_path, rng):
    kinds = {"train": {"Cat": 12, "dog": 12}, "test": {"cat": 9, "dog": 9}}
    make.image_folder(tmp_path / "images", rng, kinds)
    with pytest.raises(DataError, match="test/cat is written otherwise; rename one"):
        run(tmp_path)


def test_a_class_whose_name_is_no_text_is_refused(tmp_path, rng):
    make.image_folder(tmp_path / "images", rng, {"": {"cat": 12, "dog": 12}})
    images = tmp_path / "images"
    (images / "dog").rename(images / os.fsdecode(b"caf\xe9"))
    with pytest.raises(DataError, match=r"images/caf\\xe9: the name of a class that is not UTF-8"):
        run(tmp_path)


def test_images_whose_names_are_no_text_are_read(tmp_path, rng):
    make.image_folder(tmp_path / "images", rng, {"": {"cat": 12, "dog": 12}})
    first, _ = run(tmp_path)
    folder = tmp_path / "images/dog"
    (folder / "0003.png").rename(folder / os.fsdecode(b"caf\xe9.png"))
    second, _ = run(tmp_path)
    assert first["class_counts"] == second["class_counts"]
    assert first["sources"] != second["sources"]
