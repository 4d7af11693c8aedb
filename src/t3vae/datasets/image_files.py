"""Image files as uint8 arrays: decoded, turned upright, cropped, resized, each checked by name.

An array holds what a viewer shows: the orientation in the EXIF data is applied, and an image
with transparent pixels or with several frames is refused. Colour profiles are not applied, and
of 16 bits a colour the upper 8 are kept. The geometry is that of torchvision's CenterCrop and
Resize on Pillow images: offsets are rounded half to even, and the shorter side is resized with
an antialiased bilinear filter.
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
LONGEST = 8  # times the shorter side: of longer images only the middle is resized
ORIENTATION = 0x0112  # EXIF
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
        DataError: no image, cut, not in the wanted colours, with transparent pixels or several
            frames, or smaller than the crop.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if image.width * image.height > PIXEL_LIMIT:
                raise DataError(
                    f"{where}: {image.width} x {image.height} pixels are too many. Make it smaller."
                )
            # a photo of a telephone (JPEG) may hold more images, of which viewers show the first
            frames = 1 if image.format in ("JPEG", "MPO") else getattr(image, "n_frames", 1)
            if frames > 1:
                raise DataError(
                    f"{where}: {frames} frames, not one still image. Save one of them as "
                    "an image of its own, or remove the file."
                )
            if image.mode != MODES[channels]:
                raise DataError(_wrong_mode(where, image.mode, channels))
            stored = image.tile[0][3] if image.tile else None
            image.load()
            if _transparent(image, stored):
                raise DataError(
                    f"{where}: has transparent pixels. Lay it on a background, or remove it."
                )
            pixels = _fit(_upright(image), where, size, crop)
    except DataError:
        raise
    except UnidentifiedImageError as error:
        given = f"begins with {content[:16]!r}" if content else "is empty"
        raise DataError(
            f"{where}: not a readable image: it {given}, and only PNG, JPEG, WebP and BMP are "
            "read. Replace or remove it."
        ) from error
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


def _transparent(image: Image, stored: Any) -> bool:
    """Whether a pixel has the colour that a PNG without alpha names as transparent (tRNS).

    Where the file stores other numbers than the pixels have now (2, 4 or 16 bits), the colour
    cannot be compared, and the image counts as transparent.
    """
    if "transparency" not in image.info:
        return False
    if stored != image.mode:
        return True
    alpha = np.asarray(image.convert("LA" if image.mode == "L" else "RGBA"))[..., -1]
    return bool(alpha.min() < 255)


def _upright(image: Image) -> Image:
    """Return the image as its EXIF data say that it is to be shown."""
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    try:
        turn = turns.get(image.getexif().get(ORIENTATION, 1))
    except Exception:  # damaged data beside a sound image: a viewer shows it as it is
        turn = None
    return image if turn is None else image.transpose(turn)


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
        if max(sides) <= LONGEST * size:
            image = image.resize(sides, Resampling.BILINEAR)
        else:  # the same to one level, without the parts that are cut off
            x, y = (round((side - size) / 2) for side in sides)
            a, b = width / sides[0], height / sides[1]
            box = (x * a, y * b, (x + size) * a, (y + size) * b)
            image = image.resize((size, size), Resampling.BILINEAR, box=box)
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
    try:
        import PIL  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"Pillow cannot be imported ({error}), and images need it. "
            "Install the extra: pip install 't3vae[images]'."
        ) from error
    images = blank((len(names), channels, size, size), root)
    total = hashlib.sha256()
    with progress.bar(len(names), label, unit="image") as seen:
        for row, name in enumerate(names):
            content = shelf.read(name)
            total.update(f"{name}\0{len(content)}\0".encode("utf-8", "surrogateescape"))
            total.update(content)
            images[row] = decode(
                content, shelf.where(name), channels=channels, size=size, crop=crop
            )
            seen.update()
    return images, total.hexdigest()


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
