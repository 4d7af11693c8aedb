"""Image files as uint8 arrays: decoded, cropped, resized, each checked by name.

The geometry is that of torchvision's CenterCrop and Resize on Pillow images: offsets are
rounded half to even, and the shorter side is resized with an antialiased bilinear filter.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from t3vae.errors import ConfigError, DataError
from t3vae.runtime import progress

if TYPE_CHECKING:
    from PIL.Image import Image

    from t3vae.datasets.shelves import Shelf

__all__ = ["ENDINGS", "blank", "decode", "fingerprints", "read_images"]

Bytes = NDArray[np.uint8]

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
MODES = {1: "L", 3: "RGB"}
KINDS = {1: "grey", 3: "colour"}
PIXEL_LIMIT = 100_000_000
IN_MEMORY = 2**28


def decode(content: bytes, where: str, *, channels: int, size: int, crop: int | None) -> Bytes:
    """Return one image as uint8 ``[channels, size, size]``.

    Args:
        content: bytes of the file.
        where: name of the file for messages.
        channels: 3 for colour, 1 for grey.
        size: side of the result in pixels.
        crop: side of the centre square that is cut out first, in pixels; None for none.

    Raises:
        DataError: no image, cut, not in the wanted colours, or smaller than the crop.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if image.width * image.height > PIXEL_LIMIT:
                raise DataError(
                    f"{where}: {image.width} x {image.height} pixels are too many. Make it smaller."
                )
            if image.mode != MODES[channels]:
                raise DataError(_wrong_mode(where, image.mode, channels))
            image.load()
            pixels = _fit(image, where, size, crop)
    except DataError:
        raise
    except Exception as error:  # whatever a damaged file makes of a decoder
        raise DataError(
            f"{where}: not a readable image ({error}). Replace or remove it."
        ) from error
    return pixels[None] if channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _wrong_mode(where: str, mode: str, channels: int) -> str:
    given = {"L": "a grey", "1": "a black-and-white", "RGB": "a colour"}.get(mode, f"a `{mode}`")
    return (
        f"{where}: {given} image among {KINDS[channels]} ones (channels: {channels} needs mode "
        f"{MODES[channels]}, the file has {mode}). Convert or remove it."
    )


def _fit(image: Image, where: str, size: int, crop: int | None) -> Bytes:
    from PIL.Image import Resampling

    if crop is not None:
        if min(image.size) < crop:
            raise DataError(
                f"{where}: {image.width} x {image.height} pixels are fewer than the crop of "
                f"{crop}. Remove it or choose a smaller crop."
            )
        image = _centre(image, crop)
    width, height = image.size
    short = min(width, height)
    if short != size:
        # the longer side is cut, not rounded
        sides = (int(size * width / short), int(size * height / short))
        image = image.resize(sides, Resampling.BILINEAR)
    return np.asarray(_centre(image, size), dtype=np.uint8)


def _centre(image: Image, side: int) -> Image:
    width, height = image.size
    left, top = round((width - side) / 2), round((height - side) / 2)
    return image.crop((left, top, left + side, top + side))


def read_images(
    shelf: Shelf,
    names: Sequence[str],
    *,
    channels: int,
    size: int,
    crop: int | None,
    root: Path,
    label: str,
) -> tuple[Bytes, str]:
    """Decode image files into ``[N, channels, size, size]`` and return their checksum.

    The checksum (SHA-256) covers the names and bytes of the files in the given order.

    Args:
        shelf: where the files are.
        names: the files, in the order of the rows.
        channels: 3 for colour, 1 for grey.
        size: side of the result in pixels.
        crop: side of the centre square that is cut out first; None for none.
        root: folder for a large array on its way.
        label: what the progress bar says.

    Raises:
        DataError: a file is missing or not an image of the wanted kind.
        ConfigError: Pillow is not installed.
    """
    _need_pillow()
    images = blank((len(names), channels, size, size), root)
    total = hashlib.sha256()
    with progress.bar(len(names), label, unit="image") as seen:
        for row, name in enumerate(names):
            content = shelf.read(name)
            total.update(f"{name}\0{len(content)}\0".encode())
            total.update(content)
            images[row] = decode(
                content, shelf.where(name), channels=channels, size=size, crop=crop
            )
            seen.update()
    return images, total.hexdigest()


def _need_pillow() -> None:
    try:
        import PIL  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"Pillow cannot be imported ({error}), and images need it. "
            "Install the extra: pip install 't3vae[images]'."
        ) from error


def blank(shape: Sequence[int], root: Path) -> Bytes:
    """Return an empty uint8 array, in memory or, when it is large, in a nameless file.

    Args:
        shape: its shape.
        root: folder below which (in ``scratch``) the file lies; it vanishes with the process.

    Raises:
        DataError: the disk is too small.
    """
    count = math.prod(shape)
    if count <= IN_MEMORY:
        return np.empty(shape, np.uint8)
    folder = Path(root) / "scratch"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as stream:
            if hasattr(os, "posix_fallocate"):  # else a full disk shows later, as a crash
                os.posix_fallocate(stream.fileno(), 0, count)
            return np.memmap(stream, np.uint8, "r+", shape=tuple(shape))
    except OSError as error:
        raise DataError(
            f"{folder}: no room for {count / 1e9:.1f} GB of images ({error.strerror or error}). "
            "Free some space, then run again."
        ) from error


def fingerprints(images: Bytes) -> NDArray[Any]:
    """Return a 16-byte hash of the content of each row, as ``[N]`` void items."""
    rows = (np.ascontiguousarray(row).data for row in images)
    hashes = (hashlib.blake2b(row, digest_size=16).digest() for row in rows)
    return np.frombuffer(b"".join(hashes), dtype="V16")
