"""Small data sets in the on-disk formats of their sources, for tests."""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import struct
import tarfile
import zipfile
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image

from t3vae.published.raw_files import RawFile

ATTRIBUTE_NAMES = [f"Attribute_{number}" for number in range(39)] + ["Young"]


class _Python2(pickle._Pickler):
    """Writes text and bytes as Python 2 did: both as byte strings."""

    def _string(self, value):
        data = value.encode("latin1") if isinstance(value, str) else value
        short = len(data) < 256
        head = b"U" + bytes([len(data)]) if short else b"T" + struct.pack("<i", len(data))
        self.write(head + data)
        self.memoize(value)

    dispatch: ClassVar = {**pickle._Pickler.dispatch, str: _string, bytes: _string}


def python2_pickle(value) -> bytes:
    """Pickle as the authors of CIFAR did, with the name that NumPy's module had then."""
    stream = io.BytesIO()
    _Python2(stream, 2).dump(value)
    return stream.getvalue().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


def described(path: Path, name: str | None = None) -> RawFile:
    """The description that a published file with this content would have."""
    content = path.read_bytes()
    sums = {kind: hashlib.new(kind, content).hexdigest() for kind in ("md5", "sha256")}
    url = f"https://example.org/{name or path.name}"
    return RawFile(name or path.name, len(content), sums, url)


def tar_gz(path: Path, members: dict[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        gzip.GzipFile(path, "wb", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as tar,
    ):
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def random_images(rng, count, side=32, channels=3):
    return rng.integers(0, 256, (count, channels, side, side), dtype=np.uint8)


def cifar10_members(rng, per_class=20, test_per_class=10) -> dict[str, bytes]:
    """Members of an archive like CIFAR-10's, with few images."""
    members, folder = {}, "cifar-10-batches-py"
    sizes = {f"data_batch_{n}": per_class // 5 * 10 for n in range(1, 6)}
    for name, size in {**sizes, "test_batch": test_per_class * 10}.items():
        labels = rng.permutation(np.arange(size) % 10).tolist()
        batch = {
            "batch_label": f"batch {name}",
            "labels": labels,
            "data": random_images(rng, size).reshape(size, -1),
            "filenames": [f"{name}_{i}.png" for i in range(size)],
        }
        members[f"{folder}/{name}"] = python2_pickle(batch)
    names = ["plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    meta = {"num_cases_per_batch": 10000, "label_names": names, "num_vis": 3072}
    members[f"{folder}/batches.meta"] = python2_pickle(meta)
    return members


def cifar100_members(rng, per_class=5, test_per_class=4) -> dict[str, bytes]:
    """Members of an archive like CIFAR-100's, with few images."""
    members = {}
    for name, each in (("train", per_class), ("test", test_per_class)):
        labels = rng.permutation(np.repeat(np.arange(100), each)).tolist()
        batch = {
            "filenames": [f"{i}.png" for i in range(len(labels))],
            "fine_labels": labels,
            "coarse_labels": [label // 5 for label in labels],
            "data": random_images(rng, len(labels)).reshape(len(labels), -1),
        }
        members[f"cifar-100-python/{name}"] = python2_pickle(batch)
    meta = {"fine_label_names": [f"fine_{i}" for i in range(100)]}
    members["cifar-100-python/meta"] = python2_pickle(meta)
    return members


def image(path: Path, pixels: np.ndarray, **options) -> None:
    """Write one image; the ending gives the format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def image_folder(folder: Path, rng, counts: dict[str, dict[str, int]], side=(12, 16)) -> None:
    """Write ``split/class/*.png``; a split named '' leaves its folder out."""
    for split, classes in counts.items():
        for label, count in classes.items():
            for i in range(count):
                pixels = rng.integers(0, 256, (*side, 3), dtype=np.uint8)
                image(folder / split / label / f"{i:04d}.png", pixels)


def celeba(folder: Path, rng, sizes=(8, 3, 4), *, zipped=True):
    """Write faces, attributes and splits as CelebA does; return the attribute values 0/1."""
    total = sum(sizes)
    names = [f"{i:06d}.jpg" for i in range(1, total + 1)]
    for name in names:
        pixels = rng.integers(0, 256, (218, 178, 3), dtype=np.uint8)
        image(folder / "img_align_celeba" / name, pixels, quality=95)
    values = rng.integers(0, 2, (total, 40))
    lines = [str(total), " ".join(ATTRIBUTE_NAMES) + " "]
    for name, row in zip(names, values, strict=True):
        lines.append(name + " " + " ".join(f"{2 * v - 1:2d}" for v in row))
    (folder / "list_attr_celeba.txt").write_text("\n".join(lines) + "\n")
    numbers = np.repeat([0, 1, 2], sizes)
    lines = [f"{name} {number}" for name, number in zip(names, numbers, strict=True)]
    (folder / "list_eval_partition.txt").write_text("\n".join(lines) + "\n")
    if zipped:
        pack(folder / "img_align_celeba.zip", folder / "img_align_celeba")
        for path in (folder / "img_align_celeba").iterdir():
            path.unlink()
        (folder / "img_align_celeba").rmdir()
    return values


def pack(archive: Path, folder: Path) -> None:
    """Put a folder, under its own name, into a zip archive."""
    with zipfile.ZipFile(archive, "w") as target:
        target.writestr(f"{folder.name}/", "")
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder.parent).as_posix()
            target.write(path, name + ("/" if path.is_dir() else ""))
