"""Data sets of images, from the on-disk formats of their sources to the prepared arrays."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import subprocess
import sys
import tomllib
import urllib.error
import zipfile
from pathlib import Path

import image_files as make
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from t3vae import datasets
from t3vae.datasets import celeba, cifar, image_files, labelled, shelves, svhn
from t3vae.datasets.prepared import Prepared
from t3vae.errors import ConfigError, DataError
from t3vae.published import raw_files
from t3vae.runtime import files, layout
from t3vae.settings.sources import SOURCES
from t3vae.stages import prepare

SPLITS = ("train", "validation", "test")


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def config(source, **fields):
    """A resolved configuration, as params.yaml would give it."""
    fields = {"source": source, **fields}
    return {"dataset": "pics", **SOURCES[source].options(**fields).model_dump(mode="json")}


def run(root, source, **fields):
    prepare.run(root, config(source, **fields), "pics")
    data = Prepared(root, "pics")
    arrays = {
        name.removesuffix(".npy"): data.array(name.removesuffix(".npy"))
        for name in datasets.names(data.config)
    }
    check(data.manifest, arrays)
    return data.manifest, arrays


def check(manifest, arrays):
    """What holds for every data set of images."""
    seen: set[bytes] = set()
    for split in SPLITS:
        images = arrays[split]
        assert isinstance(images, np.memmap) and images.dtype == np.uint8 and images.ndim == 4
        inside = {image.tobytes() for image in images}
        assert not inside & seen
        seen |= inside
    assert manifest["value_range"] == [0, 255]
    if "full_train" not in arrays:
        return
    for split, counts in manifest["class_counts"].items():
        found = np.bincount(arrays[f"{split}_labels"], minlength=len(manifest["classes"]))
        assert found.tolist() == counts and arrays[f"{split}_labels"].dtype == np.int64
        assert len(arrays[split]) == sum(counts)
    assert len(set(manifest["class_counts"]["test"])) == 1
    index = arrays["train_index"]
    np.testing.assert_array_equal(arrays["full_train"][index], arrays["train"])
    np.testing.assert_array_equal(arrays["full_train_labels"][index], arrays["train_labels"])
    groups = manifest["groups"]
    grouped = [label for group in groups.values() for label in group]
    assert sorted(grouped) == list(range(len(manifest["classes"])))


def prepared_files(root):
    folder = layout.under(root, layout.prepared("pics"))
    return {path.name: path.read_bytes() for path in folder.glob("*")}


def refused(root, source, match, error=DataError, **fields):
    """The step ends with this error before it writes anything."""
    before = prepared_files(root)
    with pytest.raises(error, match=match) as caught:
        run(root, source, **fields)
    assert prepared_files(root) == before
    return str(caught.value)


# --- digits --------------------------------------------------------------------------------


def test_digits_without_any_file(tmp_path):
    from sklearn.datasets import load_digits

    manifest, arrays = run(tmp_path, "digits", imbalance=20.0, validation_fraction=0.25)
    counts = manifest["class_counts"]
    assert counts["train"][0] / counts["train"][-1] == pytest.approx(20, rel=0.15)
    assert counts["train"] == sorted(counts["train"], reverse=True)
    assert arrays["train"].shape[1:] == (1, 8, 8)
    # every prepared image is one of scikit-learn's, with its label, at 255/16 of its value
    truth = {}
    for image, label in zip(load_digits().images, load_digits().target, strict=True):
        truth.setdefault((image * 16).astype(int).tobytes(), set()).add(int(label))
    for split in SPLITS:
        for image, label in zip(arrays[split], arrays[f"{split}_labels"], strict=True):
            original = np.rint(image[0] / 255 * 16).astype(int) * 16
            assert int(label) in truth[original.tobytes()]
    assert manifest["flip"] is False


def test_the_same_seed_gives_the_same_bytes_and_another_one_does_not(tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        prepare.run(tmp_path / name, config("digits", imbalance=10.0, seed=seed), "pics")
    a, b, c = (
        {
            path.name: path.read_bytes()
            for path in layout.under(tmp_path / name, layout.prepared("pics")).iterdir()
        }
        for name in "abc"
    )
    assert a == b
    assert a["train_index.npy"] != c["train_index.npy"] and a["test.npy"] != c["test.npy"]


def test_a_stronger_imbalance_keeps_a_subset(tmp_path):
    """The classes of two versions differ in how many images they keep, not in which."""
    kept = []
    for imbalance in (2.0, 20.0):
        _, arrays = run(tmp_path / str(imbalance), "digits", imbalance=imbalance)
        kept.append(set(arrays["train_index"].tolist()))
    assert kept[1] < kept[0]


# --- CIFAR ---------------------------------------------------------------------------------


def cifar_archive(monkeypatch, root, source, members, rows):
    release = cifar.CIFAR[source]
    path = root / "data/raw" / source / release.file.name
    make.tar_gz(path, members)
    small = release._replace(file=make.described(path), rows=rows)
    monkeypatch.setitem(cifar.CIFAR, source, small)
    return path


@pytest.fixture
def cifar10(monkeypatch, tmp_path, rng):
    return cifar_archive(monkeypatch, tmp_path, "cifar10", make.cifar10_members(rng), (200, 100))


def test_cifar10_from_its_archive(tmp_path, cifar10, rng):
    manifest, arrays = run(tmp_path, "cifar10", imbalance=4.0, download=False)
    assert manifest["class_counts"]["train"] == [int(20 * 0.25 ** (i / 9)) for i in range(10)]
    assert manifest["class_counts"]["validation"] == [1] * 10
    assert manifest["class_counts"]["test"] == [9] * 10
    assert manifest["classes"][:2] == ["plane", "car"]
    digits = hashlib.sha256(cifar10.read_bytes()).hexdigest()
    assert manifest["sources"]["cifar-10-python.tar.gz"]["sha256"] == digits
    # against an independent reading of the archive
    members = make.cifar10_members(np.random.default_rng(7))
    batches = [
        pickle.loads(members[f"cifar-10-batches-py/data_batch_{n}"], encoding="latin1")
        for n in range(1, 6)
    ]
    data = np.concatenate([batch["data"] for batch in batches]).reshape(-1, 3, 32, 32)
    np.testing.assert_array_equal(arrays["full_train"], data)
    labels = np.concatenate([batch["labels"] for batch in batches])
    np.testing.assert_array_equal(arrays["full_train_labels"], labels)
    test = pickle.loads(members["cifar-10-batches-py/test_batch"], encoding="latin1")
    np.testing.assert_array_equal(
        arrays["test"].reshape(90, -1), test["data"][arrays["test_index"]]
    )


def test_the_archive_itself_may_be_named(tmp_path, cifar10):
    moved = tmp_path / "elsewhere.tar.gz"
    cifar10.rename(moved)
    run(tmp_path, "cifar10", folder=str(moved), download=False)
    run(tmp_path, "cifar10", folder="elsewhere.tar.gz", download=False, profile="step")


def test_cifar100_has_fine_labels_and_a_step_profile(monkeypatch, tmp_path, rng):
    members = make.cifar100_members(rng)
    cifar_archive(monkeypatch, tmp_path, "cifar100", members, (500, 400))
    manifest, _ = run(tmp_path, "cifar100", imbalance=5.0, profile="step", validation_fraction=0.25)
    assert manifest["class_counts"]["train"] == [5] * 50 + [1] * 50
    assert len(manifest["classes"]) == 100 and manifest["classes"][3] == "fine_3"
    assert manifest["class_counts"]["test"] == [3] * 100
    assert [len(group) for group in manifest["groups"].values()] == [33, 34, 33]


def test_test_images_among_the_training_images_are_dropped(monkeypatch, tmp_path, rng):
    members = make.cifar10_members(rng)
    name = "cifar-10-batches-py/data_batch_1"
    batch = pickle.loads(members[name], encoding="latin1")
    test = pickle.loads(members["cifar-10-batches-py/test_batch"], encoding="latin1")
    row = batch["labels"].index(0)
    batch["data"][row] = test["data"][5]
    members[name] = make.python2_pickle(batch)
    cifar_archive(monkeypatch, tmp_path, "cifar10", members, (200, 100))
    manifest, arrays = run(tmp_path, "cifar10", imbalance=1.0)
    assert manifest["dropped"]["train"] == [row]
    assert manifest["class_counts"]["train"] == [19] + [20] * 9
    assert len(arrays["full_train"]) == 199


def test_missing_archive_in_one_message(tmp_path):
    message = refused(tmp_path, "cifar10", "missing", download=False)
    for part in (
        str(tmp_path / "data/raw/cifar10"),
        "cifar-10-python.tar.gz",
        "170498071 bytes",
        "c58f30108f718f92721af3b95e74349a",
        "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        "datasets.pics.folder",
    ):
        assert part in message
    assert not (tmp_path / "data/raw").exists()


def test_download_that_fails_says_why_and_leaves_nothing(tmp_path, monkeypatch):
    from torchvision.datasets import utils

    def offline(url, folder, name, md5):
        (Path(folder) / name).write_bytes(b"half")
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(utils, "download_url", offline)
    message = refused(tmp_path, "cifar10", "no route to host", download=True)
    assert "cifar-10-python.tar.gz" in message and "datasets.pics.folder" in message
    assert not (tmp_path / "data/raw/cifar10").exists()


def test_download_puts_the_file_where_the_parameter_says(tmp_path, monkeypatch, cifar10):
    from torchvision.datasets import utils

    content = cifar10.read_bytes()
    cifar10.unlink()
    asked = []

    def fetch(url, folder, name, md5):
        asked.append((url, md5))
        (Path(folder) / name).write_bytes(content)

    monkeypatch.setattr(utils, "download_url", fetch)
    run(tmp_path, "cifar10", download=True)
    file = cifar.CIFAR["cifar10"].file
    assert asked == [(file.url, file.checksums["md5"])]
    assert [path.name for path in cifar10.parent.iterdir()] == [file.name]
    monkeypatch.setattr(utils, "download_url", None)  # what is there is not fetched again
    run(tmp_path, "cifar10", download=True)


def test_damaged_archives_are_refused(tmp_path, monkeypatch, cifar10):
    good = cifar10.read_bytes()
    cifar10.write_bytes(good[:-100])
    assert "cut" in refused(tmp_path, "cifar10", cifar10.name)
    cifar10.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    assert "wrong checksum" in refused(tmp_path, "cifar10", cifar10.name)
    # a cut archive whose checksum is right all the same
    cifar10.write_bytes(good[: len(good) // 2])
    release = cifar.CIFAR["cifar10"]
    monkeypatch.setitem(
        cifar.CIFAR, "cifar10", release._replace(file=make.described(cifar10, release.file.name))
    )
    assert "cannot be unpacked" in refused(tmp_path, "cifar10", cifar10.name)


def altered(monkeypatch, root, rng, change):
    members = make.cifar10_members(rng)
    change(members)
    return cifar_archive(monkeypatch, root, "cifar10", members, (200, 100))


def edit(name, change):
    def apply(members):
        key = f"cifar-10-batches-py/{name}"
        batch = pickle.loads(members[key], encoding="latin1")
        change(batch)
        members[key] = make.python2_pickle(batch)

    return apply


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda m: m.pop("cifar-10-batches-py/data_batch_3"), "holds no file .*data_batch_3"),
        (edit("data_batch_2", lambda b: b["labels"].pop()), "data_batch_2: 39 labels for 40"),
        (edit("test_batch", lambda b: b.update(data=b["data"][:, :100])), "test_batch.*100 values"),
        (
            edit("test_batch", lambda b: b.update(data=b["data"] * 1.0)),
            "test_batch: not a pickle",
        ),
        (edit("data_batch_4", lambda b: b["labels"].__setitem__(0, 10)), "data_batch_4.*0 to 9"),
        (
            edit("data_batch_5", lambda b: b.update(data=b["data"][:9], labels=b["labels"][:9])),
            "169 images instead of 200",
        ),
        (edit("batches.meta", lambda b: b.pop("label_names")), "batches.meta.*label_names"),
    ],
)
def test_archives_with_other_content_are_refused(tmp_path, monkeypatch, rng, change, match):
    altered(monkeypatch, tmp_path, rng, change)
    refused(tmp_path, "cifar10", match)


def test_a_batch_that_names_a_function_is_not_run(tmp_path, monkeypatch, rng):
    class Evil:
        def __reduce__(self):
            return os.makedirs, (str(tmp_path / "ran"),)

    altered(
        monkeypatch,
        tmp_path,
        rng,
        lambda m: m.update({"cifar-10-batches-py/test_batch": pickle.dumps(Evil(), 2)}),
    )
    refused(tmp_path, "cifar10", "test_batch: not a pickle of plain values")
    assert not (tmp_path / "ran").exists()


# --- SVHN ----------------------------------------------------------------------------------


@pytest.fixture
def house_numbers(monkeypatch, tmp_path, rng):
    from scipy.io import savemat

    folder = tmp_path / "data/raw/svhn"
    folder.mkdir(parents=True)
    truth = {}
    for split, sizes in (("train", range(10, 20)), ("test", [4, 9, 5, 6, 7, 8, 4, 5, 6, 7])):
        labels = rng.permutation(np.repeat(np.arange(10), list(sizes)))
        images = make.random_images(rng, len(labels))
        truth[split] = (images, labels)
        y = np.where(labels == 0, 10, labels).astype(np.uint8)[:, None]
        path = folder / f"{split}_32x32.mat"
        savemat(path, {"X": images.transpose(2, 3, 1, 0), "y": y}, do_compression=True)
        monkeypatch.setitem(svhn.FILES, split, make.described(path))
        monkeypatch.setitem(svhn.ROWS, split, len(labels))
    return folder, truth


def test_svhn_from_its_files(tmp_path, house_numbers):
    _, truth = house_numbers
    manifest, arrays = run(tmp_path, "svhn", imbalance=5.0, validation_fraction=0.25)
    np.testing.assert_array_equal(arrays["full_train"], truth["train"][0])
    np.testing.assert_array_equal(arrays["full_train_labels"], truth["train"][1])
    images, labels = truth["test"]
    np.testing.assert_array_equal(arrays["test"], images[arrays["test_index"]])
    np.testing.assert_array_equal(arrays["test_labels"], labels[arrays["test_index"]])
    assert manifest["class_counts"]["test"] == [3] * 10
    assert manifest["class_counts"]["train"] == [int(10 * 0.2 ** (i / 9)) for i in range(10)]


def test_svhn_files_that_are_wrong(tmp_path, monkeypatch, house_numbers):
    folder, _ = house_numbers
    monkeypatch.setitem(svhn.ROWS, "test", 62)
    refused(tmp_path, "svhn", "test_32x32.mat: 61 images .* instead of 62")
    path = folder / "train_32x32.mat"
    path.write_bytes(path.read_bytes()[:5000])
    monkeypatch.setitem(svhn.FILES, "train", make.described(path))
    refused(tmp_path, "svhn", "train_32x32.mat: not a MATLAB file")
    path.unlink()
    message = refused(tmp_path, "svhn", "1 file", download=False)
    assert "train_32x32.mat" in message and "\n  test_32x32.mat" not in message


# --- CelebA --------------------------------------------------------------------------------


@pytest.fixture
def faces(monkeypatch, tmp_path, rng):
    """Return a function that writes the files and declares them as the published ones."""
    folder = tmp_path / "data/raw/celeba"

    def write(change=lambda folder: None, **options):
        values = make.celeba(folder, rng, **options)
        change(folder)
        for name in ("IMAGES", "ATTRIBUTES", "PARTITION"):
            path = folder / getattr(celeba, name).name
            if path.is_file():
                monkeypatch.setattr(celeba, name, make.described(path))
        monkeypatch.setattr(celeba, "ROWS", {"train": 8, "validation": 3, "test": 4})
        return folder, values

    return write


@pytest.mark.parametrize("zipped", [True, False])
def test_celeba_from_archive_and_folder(tmp_path, faces, zipped):
    from torchvision import transforms

    folder, values = faces(zipped=zipped)
    manifest, arrays = run(tmp_path, "celeba", download=False)
    assert [arrays[split].shape for split in SPLITS] == [(n, 3, 64, 64) for n in (8, 3, 4)]
    joined = np.concatenate([arrays[f"{split}_attributes"] for split in SPLITS])
    np.testing.assert_array_equal(joined, values)
    assert joined.dtype == np.uint8
    assert manifest["attributes"] == make.ATTRIBUTE_NAMES
    assert manifest["attribute_counts"]["test"] == values[11:].sum(0).tolist()
    transform = transforms.Compose([transforms.CenterCrop(148), transforms.Resize(64)])
    name = "img_align_celeba/000012.jpg"
    content = (
        zipfile.ZipFile(folder / "img_align_celeba.zip").read(name)
        if zipped
        else (folder / name).read_bytes()
    )
    expected = np.asarray(transform(Image.open(io.BytesIO(content)))).transpose(2, 0, 1)
    np.testing.assert_array_equal(arrays["test"][0], expected)


def swap(name, old, new):
    def change(folder):
        path = folder / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return change


ATTR, PART = "list_attr_celeba.txt", "list_eval_partition.txt"


@pytest.mark.parametrize("end", ["\r\n", " \n"])
def test_celeba_tables_with_other_ends_of_lines(tmp_path, faces, end):
    """The published table of splits has 14 bytes a line, one more than its text and ``\\n``."""

    def change(folder):
        for name in (ATTR, PART):
            path = folder / name
            path.write_bytes(path.read_bytes().replace(b"\n", end.encode()))

    _, values = faces(change)
    _, arrays = run(tmp_path, "celeba", download=False)
    joined = np.concatenate([arrays[f"{split}_attributes"] for split in SPLITS])
    np.testing.assert_array_equal(joined, values)


def test_published_files_are_those_that_torchvision_knows():
    """Names, checksums and places, written down there by others."""
    from torchvision import datasets as theirs

    known = {name: (place, md5) for place, md5, name in theirs.CelebA.file_list}
    for file in (celeba.IMAGES, celeba.ATTRIBUTES, celeba.PARTITION):
        assert (file.drive, file.checksums["md5"]) == known[file.name]
        assert f"/{file.drive}" in file.url
    for source, their in (("cifar10", theirs.CIFAR10), ("cifar100", theirs.CIFAR100)):
        file = cifar.CIFAR[source].file
        assert (file.name, file.url, file.checksums["md5"]) == (
            their.filename, their.url, their.tgz_md5
        )  # fmt: skip
    for split, file in svhn.FILES.items():
        url, name, md5 = theirs.SVHN.split_list[split]
        assert (file.name, file.url, file.checksums["md5"]) == (name, url, md5)
    assert celeba.PARTITION.size == 14 * sum(celeba.ROWS.values())


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (swap(ATTR, "15\n", "16\n"), f"{ATTR}: has 15 rows, says '16'"),
        (swap(ATTR, " Young", ""), f"{ATTR}:2: 39 names"),
        (swap(ATTR, "000002.jpg", "000002.jpg 1"), f"{ATTR}:4: "),
        (swap(ATTR, "000003.jpg ", "000003.jpg 0 "), f"{ATTR}:5: "),
        (swap(PART, "000015.jpg 2\n", ""), f"{PART}: has 14 rows"),
        (swap(PART, "000015.jpg 2", "000015.jpg 1"), f"{PART}: gives 4 images to validation"),
        (swap(PART, "000004.jpg 0", "000004.jpg 3"), f"{PART}:4: "),
        (lambda f: (f / ATTR).write_bytes(b"\xff\xfe"), f"{ATTR}: not readable as text"),
    ],
)
def test_celeba_tables_that_are_wrong(tmp_path, faces, change, match):
    faces(change)
    refused(tmp_path, "celeba", match)


def test_celeba_images_that_are_wrong(tmp_path, faces):
    folder, _ = faces(zipped=False)
    path = folder / "img_align_celeba" / "000009.jpg"
    good = path.read_bytes()
    path.write_bytes(good[: len(good) // 2])
    refused(tmp_path, "celeba", "000009.jpg: not a readable image")
    Image.open(io.BytesIO(good)).resize((140, 218)).save(path)
    refused(tmp_path, "celeba", "000009.jpg: 140 x 218 pixels are fewer than the crop")
    path.unlink()
    refused(tmp_path, "celeba", "000009.jpg: missing, and 0 more")
    path.write_bytes(good)
    (folder / "img_align_celeba" / "000099.jpg").write_bytes(good)
    refused(tmp_path, "celeba", "000099.jpg: not in list_attr_celeba.txt")


def test_celeba_without_its_attribute_file(tmp_path, faces):
    folder, _ = faces()
    (folder / ATTR).unlink()
    message = refused(tmp_path, "celeba", "1 file", download=False)
    assert ATTR in message and "datasets.pics.folder" in message
    assert str(folder) in message


def test_celeba_with_nothing_there_lists_all_three_files(tmp_path):
    message = refused(tmp_path, "celeba", "3 file", download=False)
    for part in ("img_align_celeba.zip", "1443490838", ATTR, "26721026", PART, "2836386"):
        assert part in message


def test_celeba_s_download_names_the_extra_that_it_needs(tmp_path, monkeypatch):
    find = raw_files.find_spec
    monkeypatch.setattr(raw_files, "find_spec", lambda n: None if n == "gdown" else find(n))
    message = refused(tmp_path, "celeba", "could not be downloaded", download=True)
    assert "pip install 't3vae[celeba]'" in message and "3 file(s)" in message
    assert not (tmp_path / "data/raw").exists()
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    assert any("gdown" in need for need in project["project"]["optional-dependencies"]["celeba"])


def test_a_damaged_member_of_the_zip_archive(tmp_path, faces):
    def flip(folder):
        path = folder / "img_align_celeba.zip"
        content = bytearray(path.read_bytes())
        content[content.index(b"\xff\xd8") + 700] ^= 255
        path.write_bytes(content)

    faces(flip)
    refused(tmp_path, "celeba", r"img_align_celeba.zip: img_align_celeba/000001.jpg: damaged")


def test_a_face_in_two_splits_is_kept_in_the_later_one(tmp_path, faces):
    def copy(folder):
        images = folder / "img_align_celeba"
        (images / "000002.jpg").write_bytes((images / "000010.jpg").read_bytes())
        (images / "000011.jpg").write_bytes((images / "000012.jpg").read_bytes())

    _, values = faces(copy, zipped=False)
    manifest, arrays = run(tmp_path, "celeba")
    assert manifest["dropped"] == {"train": [1], "validation": [2]}
    np.testing.assert_array_equal(arrays["train_attributes"], np.delete(values[:8], 1, axis=0))
    assert [len(arrays[split]) for split in SPLITS] == [7, 2, 4]


# --- a folder of one's own -----------------------------------------------------------------

COUNTS = {"train": {"cat": 12, "dog": 12, "owl": 12}, "test": {"cat": 5, "dog": 4, "owl": 6}}


@pytest.fixture
def folder(tmp_path, rng):
    make.image_folder(tmp_path / "images", rng, COUNTS)
    return tmp_path / "images"


def own(root, match=None, **fields):
    fields = {"folder": "images", "size": 8, **fields}
    return (
        refused(root, "image_folder", match, **fields)
        if match
        else run(root, "image_folder", **fields)
    )


def test_a_folder_with_train_and_test(tmp_path, folder):
    manifest, arrays = own(tmp_path, imbalance=4.0, validation_fraction=0.25)
    assert manifest["classes"] == ["cat", "dog", "owl"]
    assert manifest["class_counts"]["train"] == [12, 6, 3]
    assert manifest["class_counts"]["test"] == [3, 3, 3]
    assert arrays["train"].shape[1:] == (3, 8, 8)
    assert manifest["sources"]["train"]["files"] == 36
    # row i of full_train is image i in the order of the names
    names = sorted((folder / "train").rglob("*.png"))
    with Image.open(names[17]) as image:
        expected = image_files.decode(names[17].read_bytes(), "x", channels=3, size=8, crop=None)
        assert image.size == (16, 12)
    np.testing.assert_array_equal(arrays["full_train"][17], expected)


def test_a_zip_archive_of_the_folder_gives_the_same(tmp_path, folder):
    first, arrays = own(tmp_path)
    make.pack(tmp_path / "p.zip", folder)
    second, packed = own(tmp_path, folder="p.zip")
    assert first["sources"] == second["sources"]
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, packed[name])


def test_a_folder_with_its_own_validation_images(tmp_path, folder, rng):
    make.image_folder(folder, rng, {"validation": {"cat": 2, "dog": 3, "owl": 1}})
    manifest, _ = own(tmp_path)
    assert manifest["class_counts"]["validation"] == [2, 3, 1]
    assert manifest["class_counts"]["test"] == [4, 4, 4]


def test_one_folder_is_split_by_a_fraction(tmp_path, rng):
    make.image_folder(tmp_path / "images", rng, {"": {"a": 20, "b": 30}})
    manifest, _ = own(tmp_path, test_fraction=0.2, validation_fraction=0.5)
    assert manifest["class_counts"] == {
        "train": [16, 26],
        "validation": [2, 2],
        "test": [2, 2],
        "full_train": [16, 26],
    }
    message = own(tmp_path, "test_fraction = 0.01", error=ConfigError, test_fraction=0.01)
    assert "datasets.pics" in message


def test_images_without_classes_make_one_class(tmp_path, rng):
    for i in range(30):
        pixels = rng.integers(0, 256, (9, 9), dtype=np.uint8)
        make.image(tmp_path / "images" / f"{i}.PNG", pixels, format="PNG")
    manifest, arrays = own(tmp_path, channels=1)
    assert manifest["classes"] == ["all"] and arrays["train"].shape == (24, 1, 8, 8)
    assert manifest["groups"] == {"head": [0], "medium": [], "tail": []}


@pytest.mark.parametrize(("shape", "crop", "size"), [
    ((37, 50), None, 16), ((37, 50), 31, 16), ((50, 37), 30, 64), ((20, 21), 20, 20),
    ((9, 40), None, 9),
])  # fmt: skip
def test_crop_and_resize_are_those_of_torchvision(rng, shape, crop, size):
    from torchvision import transforms

    image = Image.fromarray(rng.integers(0, 256, (*shape, 3), dtype=np.uint8))
    steps = [transforms.CenterCrop(crop)] if crop else []
    steps += [transforms.Resize(size), transforms.CenterCrop(size)]
    expected = np.asarray(transforms.Compose(steps)(image)).transpose(2, 0, 1)
    stream = io.BytesIO()
    image.save(stream, "PNG")
    found = image_files.decode(stream.getvalue(), "x", channels=3, size=size, crop=crop)
    np.testing.assert_array_equal(found, expected)


def grey(folder):
    make.image(folder / "train/dog/0003.png", np.zeros((12, 16), np.uint8))


def see_through(folder):
    make.image(folder / "train/dog/0003.png", np.zeros((12, 16, 4), np.uint8))


def cut(folder):
    path = folder / "test/owl/0002.png"
    path.write_bytes(path.read_bytes()[:-200])


def damaged(folder):
    path = folder / "test/owl/0002.png"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


def emptied(folder):
    for path in (folder / "train/cat").iterdir():
        path.unlink()


def gone(folder):
    for path in (folder / "test/cat").iterdir():
        path.unlink()
    (folder / "test/cat").rmdir()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (grey, r"train/dog/0003.png: a grey image among colour ones"),
        (see_through, r"train/dog/0003.png: a `RGBA` image"),
        (cut, r"test/owl/0002.png: not a readable image"),
        (damaged, r"test/owl/0002.png: not a readable image"),
        (lambda f: (f / "train/owl/0001.png").write_text("hello"), "train/owl/0001.png: not a re"),
        (lambda f: (f / "train/owl/0001.png").write_bytes(b""), "train/owl/0001.png: not a re"),
        (
            lambda f: (f / "train/owl/notes.txt").write_text("x"),
            "train/owl/notes.txt: not an image",
        ),
        (emptied, r"train/cat: a class with no image"),
        (gone, r"test/cat: missing, while train/cat is there"),
        (
            lambda f: make.image(f / "test/elk/1.png", np.zeros((9, 9, 3), np.uint8)),
            "test/elk: a",
        ),
        (
            lambda f: make.image(f / "train/1.png", np.zeros((9, 9, 3), np.uint8)),
            "train/1.png: a",
        ),
        (lambda f: (f / "train/cat/sub").mkdir(), r"train/cat/sub: a folder inside a class"),
        (lambda f: (f / "extra").mkdir(), r"extra: stands beside train"),
        (lambda f: (f / "readme.txt").write_text("x"), r"readme.txt: stands beside train"),
        (lambda f: (f / "train").rename(f / "elsewhere"), "no folder train beside"),
    ],
)
def test_folders_that_are_wrong(tmp_path, folder, change, match):
    change(folder)
    own(tmp_path, match)


DAMAGE = st.lists(
    st.tuples(st.integers(0, 10**6), st.integers(0, 8), st.binary(max_size=6)),
    min_size=1,
    max_size=3,
)


def encoded(kind, **options):
    pixels = np.random.default_rng(0).integers(0, 256, (9, 11, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


IMAGES = [encoded(kind) for kind in ("PNG", "JPEG", "WEBP", "BMP")]


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(IMAGES), DAMAGE)
def test_damaged_images_end_in_an_array_or_a_data_error(content, damage):
    for place, cut, new in damage:
        at = place % (len(content) + 1)
        content = content[:at] + new + content[at + cut :]
    try:
        found = image_files.decode(content, "somewhere.png", channels=3, size=8, crop=None)
    except DataError as error:
        found = str(error)
    if isinstance(found, str):
        assert found.startswith("somewhere.png: ")
        return
    assert found.shape == (3, 8, 8) and found.dtype == np.uint8


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_image_of_too_many_pixels_is_not_decoded(tmp_path):
    huge = Image.new("RGB", (20_000, 6_000))
    stream = io.BytesIO()
    huge.save(stream, "PNG")
    with pytest.raises(DataError, match="20000 x 6000 pixels are too many"):
        image_files.decode(stream.getvalue(), "x.png", channels=3, size=8, crop=None)


@settings(max_examples=100, deadline=None)
@given(DAMAGE)
def test_damaged_zip_archives_end_in_their_names_or_a_data_error(tmp_path_factory, damage):
    path = tmp_path_factory.mktemp("zip") / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("train/a/1.png", "train/b/2.png"):
            archive.writestr(name, IMAGES[0])
    content = path.read_bytes()
    for place, cut, new in damage:
        at = place % (len(content) + 1)
        content = content[:at] + new + content[at + cut :]
    path.write_bytes(content)
    try:
        shelf = shelves.ZipShelf(path)
        found = [shelf.read(name) for name in shelf.names]
    except DataError as error:
        found = str(error)
    if isinstance(found, str):
        assert found.startswith(str(path))
        return
    assert all(read == IMAGES[0] for read in found)


def test_a_zip_archive_with_the_same_name_twice(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("train/a/1.png", IMAGES[0])
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("train/a/1.png", IMAGES[0])
    own(tmp_path, "train/a/1.png: there twice", folder="a.zip")


def test_hidden_files_do_not_count(tmp_path, folder):
    (folder / "train/cat/.DS_Store").write_bytes(b"x")
    (folder / "Thumbs.db").write_bytes(b"x")
    own(tmp_path)


def test_folders_without_any_image(tmp_path):
    assert "datasets.pics.folder" in own(tmp_path, "images: no such folder")
    (tmp_path / "images").mkdir()
    own(tmp_path, "images: an empty folder")
    (tmp_path / "images/train").mkdir()
    own(tmp_path, "images: an empty folder")
    (tmp_path / "file.zip").write_bytes(b"PK nonsense")
    own(tmp_path, "file.zip: a cut or damaged archive", folder="file.zip")
    (tmp_path / "file.txt").write_bytes(b"text")
    own(tmp_path, "file.txt: neither a folder nor a zip", folder="file.txt")


def test_a_test_set_of_training_images_is_refused(tmp_path, folder):
    for path in (folder / "test").rglob("*.png"):
        path.write_bytes((folder / "train" / path.relative_to(folder / "test")).read_bytes())
    own(tmp_path, "training images are also test")


def test_classes_that_would_become_empty_are_refused(tmp_path, folder):
    message = own(tmp_path, "imbalance = 100.0", error=ConfigError, imbalance=100.0)
    assert "datasets.pics" in message
    own(tmp_path, "validation_fraction = 0.9", error=ConfigError, validation_fraction=0.9)


def test_an_error_while_writing_leaves_nothing(tmp_path, folder, monkeypatch):
    own(tmp_path)
    write = files.write_npy

    def full(path, array):
        if path.name == "test_labels.npy":
            raise DataError(f"{path}: cannot be written (No space left on device).")
        write(path, array)

    monkeypatch.setattr(files, "write_npy", full)
    with pytest.raises(DataError, match="No space left"):
        own(tmp_path, imbalance=2.0)
    assert prepared_files(tmp_path) == {}


def test_an_error_while_reading_keeps_the_old_data_set(tmp_path, folder):
    own(tmp_path)
    grey(folder)
    with pytest.raises(DataError, match="grey"):
        own(tmp_path)
    assert len(Prepared(tmp_path, "pics").array("train")) == 36


def test_large_arrays_lie_in_a_nameless_file(tmp_path, folder, monkeypatch):
    first, arrays = own(tmp_path)
    before = {name: array.copy() for name, array in arrays.items()}
    monkeypatch.setattr(image_files, "IN_MEMORY", 100)
    second, arrays = own(tmp_path)
    assert isinstance(image_files.blank((300,), tmp_path), np.memmap)
    assert first == second and not list((tmp_path / "scratch").iterdir())
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, before[name])


def test_splits_that_share_a_image_are_found(rng):
    images = make.random_images(rng, 6, 4)
    hashes = image_files.fingerprints(images)
    assert len(set(hashes.tolist())) == 6
    labelled.assert_disjoint({"train": hashes[:3], "test": hashes[3:]}, "datasets.pics")
    with pytest.raises(DataError, match="test and train share 1 images"):
        labelled.assert_disjoint({"train": hashes[:4], "test": hashes[3:]}, "datasets.pics")


# --- the rest ------------------------------------------------------------------------------


def test_missing_libraries_say_what_to_install(tmp_path, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert "t3vae[images]" in own(tmp_path, "Pillow", error=ConfigError)
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    assert "t3vae[images]" in refused(tmp_path, "digits", "scikit-learn", error=ConfigError)


def test_reading_images_needs_no_torch(tmp_path, folder):
    script = (
        "import sys, json, pathlib\nfrom t3vae.stages import prepare\n"
        "config = json.loads(sys.argv[2])\n"
        "prepare.run(pathlib.Path(sys.argv[1]), config, 'pics')\n"
        "assert not {'torch', 'torchvision'} & set(sys.modules)\n"
    )
    import json

    text = json.dumps(config("image_folder", folder="images", size=8))
    source = str(Path(layout.__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path), text],
        env={**os.environ, "PYTHONPATH": source},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif("T3VAE_CIFAR10_FOLDER" not in os.environ, reason="needs a folder of CIFAR-10")
def test_a_real_folder_of_cifar10(tmp_path):
    manifest, arrays = run(
        tmp_path,
        "image_folder",
        folder=os.environ["T3VAE_CIFAR10_FOLDER"],
        size=32,
        imbalance=100.0,
    )
    assert len(arrays["train"]) == 12_406
    assert manifest["class_counts"]["train"] == [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]
    assert (len(arrays["validation"]), len(arrays["test"])) == (1_000, 9_000)
    assert len(arrays["full_train"]) == 50_000
