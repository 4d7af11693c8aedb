"""One image file becomes what a viewer shows of it, or a message that says why not."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from t3vae.datasets.image_files import LONGEST, decode
from t3vae.errors import DataError

SHAPE = (10, 14)


@pytest.fixture
def pixels():
    return np.random.default_rng(3).integers(0, 256, (*SHAPE, 3), dtype=np.uint8)


def encoded(image: Image.Image | np.ndarray, kind: str = "PNG", **options) -> bytes:
    stream = io.BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(stream, kind, **options)
    return stream.getvalue()


def read(content: bytes, channels: int = 3, size: int = 10, crop: int | None = None) -> np.ndarray:
    return decode(content, "some.png", channels=channels, size=size, crop=crop)


def refused(content: bytes, match: str, channels: int = 3) -> None:
    with pytest.raises(DataError, match=match) as caught:
        read(content, channels)
    assert str(caught.value).startswith("some.png: ")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(depth: int, colour: int, rows: list[bytes], side: int, clear: bytes | None) -> bytes:
    """A PNG of any depth, with the colour that counts as transparent."""
    head = struct.pack(">IIBBBBB", side, len(rows), depth, colour, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows))
    extra = b"" if clear is None else chunk(b"tRNS", clear)
    parts = chunk(b"IHDR", head) + extra + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


# --- orientation ---------------------------------------------------------------------------


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize(
    ("kind", "channels"), [("PNG", 1), ("PNG", 3), ("JPEG", 1), ("JPEG", 3), ("WEBP", 3)]
)
def test_images_are_turned_as_viewers_turn_them(pixels, kind, turn, channels):
    exif = Image.Exif()
    exif[0x0112] = turn
    image = Image.fromarray(pixels).convert("L" if channels == 1 else "RGB")
    options = {"lossless": True} if kind == "WEBP" else {}
    content = encoded(image, kind, exif=exif, **options)
    shown = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    assert shown.size == (SHAPE if turn > 4 else SHAPE[::-1])
    np.testing.assert_array_equal(read(content, channels), read(encoded(shown), channels))
    plain = read(encoded(Image.open(io.BytesIO(content)).copy(), exif=b""), channels)
    assert (read(content, channels) == plain).all() == (turn == 1)


def test_the_crop_is_taken_from_the_turned_image():
    strip = Image.new("RGB", (30, 10), (255, 0, 0))
    strip.paste((0, 0, 255), (15, 0, 30, 10))  # the lower half once it is turned
    exif = Image.Exif()
    exif[0x0112] = 6
    found = read(encoded(strip, exif=exif), size=4, crop=10)
    assert found[0, 0].min() == 255 and found[2, -1].min() == 255


@pytest.mark.parametrize("exif", [b"Exif\0\0junk", b"", b"Exif\0\0II*\0\xff\xff\xff\xff", b"\xff"])
def test_damaged_data_beside_a_sound_image_do_not_count(pixels, exif):
    plain = read(encoded(pixels, "JPEG"))
    np.testing.assert_array_equal(read(encoded(pixels, "JPEG", exif=exif)), plain)


@pytest.mark.parametrize("turn", [0, 9, 77])
def test_orientations_that_do_not_exist_do_not_count(pixels, turn):
    exif = Image.Exif()
    exif[0x0112] = turn
    np.testing.assert_array_equal(read(encoded(pixels, exif=exif)), read(encoded(pixels)))


# --- transparency --------------------------------------------------------------------------


def test_a_transparent_colour_is_refused_where_a_pixel_has_it(pixels):
    pixels[:] = np.maximum(pixels, 1)
    opaque = encoded(pixels, transparency=(0, 0, 0))
    np.testing.assert_array_equal(read(opaque), read(encoded(pixels)))
    pixels[3, 4] = 0
    refused(encoded(pixels, transparency=(0, 0, 0)), "transparent pixels")
    grey = pixels[..., 0]
    refused(encoded(grey, transparency=0), "transparent pixels", channels=1)
    read(encoded(grey), 1)


@pytest.mark.parametrize(
    ("depth", "colour", "row", "clear"),
    [
        (2, 0, b"\x1b", b"\0\3"),  # 0 1 2 3; 3 is shown as 255
        (4, 0, b"\x0f\x0f", b"\0\x0f"),
        (16, 2, bytes(range(24)), bytes(range(6))),
    ],
)
def test_a_transparent_colour_in_other_depths(depth, colour, row, clear):
    """The numbers of the file are not those of the array, and cannot be compared with them."""
    channels = 3 if colour == 2 else 1
    content = png(depth, colour, [row] * 4, 4, clear)
    refused(content, "transparent pixels", channels)
    found = decode(
        png(depth, colour, [row] * 4, 4, None), "x", channels=channels, size=4, crop=None
    )
    assert found.shape == (channels, 4, 4)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_images_with_an_alpha_channel_are_refused(pixels, kind):
    alpha = np.dstack([pixels, pixels[..., :1]])
    refused(encoded(alpha, kind), "a `RGBA` image among colour ones")


@pytest.mark.parametrize(
    ("mode", "options"),
    [("P", {}), ("P", {"transparency": 0}), ("LA", {}), ("1", {}), ("I;16", {}), ("L", {})],
)
def test_other_kinds_of_png_are_named(pixels, mode, options):
    image = Image.fromarray(pixels)
    image = Image.new("I;16", (12, 12), 4000) if mode == "I;16" else image.convert(mode)
    refused(encoded(image, **options), "Convert or remove it")


@pytest.mark.parametrize("mode", ["CMYK", "L"])
def test_other_kinds_of_jpeg_are_named(pixels, mode):
    refused(encoded(Image.fromarray(pixels).convert(mode), "JPEG"), f"the file has {mode}")


def test_of_sixteen_bits_the_upper_eight_are_kept():
    row = bytes([200, 99, 100, 3, 0, 255] * 4)
    found = decode(png(16, 2, [row] * 4, 4, None), "x", channels=3, size=4, crop=None)
    assert found[:, 0, 0].tolist() == [200, 100, 0]


# --- several frames, ways of storing -------------------------------------------------------


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_animations_are_refused(pixels, kind):
    frames = [Image.fromarray(pixels), Image.fromarray(255 - pixels)]
    content = encoded(frames[0], kind, save_all=True, append_images=frames[1:], lossless=True)
    refused(content, "2 frames, not one still image")


def test_photos_with_a_second_image_are_the_first(pixels):
    """As telephones write them; viewers show the first."""
    second = Image.fromarray(255 - pixels)
    content = encoded(Image.fromarray(pixels), "MPO", save_all=True, append_images=[second])
    np.testing.assert_array_equal(read(content), read(encoded(pixels, "JPEG")))


def test_progressive_images_are_as_others(pixels):
    plain, progressive = (encoded(pixels, "JPEG", progressive=p) for p in (False, True))
    assert plain != progressive
    np.testing.assert_array_equal(read(plain), read(progressive))


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP"])
def test_cut_images_are_refused(kind, progressive):
    pixels = np.random.default_rng(1).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    content = encoded(pixels, kind, progressive=progressive)
    refused(content[: len(content) * 2 // 3], "not a readable image")


# --- size ----------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 30 * LONGEST), (3, 5 * 7 * LONGEST), (2000, 9)])
def test_long_strips_give_their_middle(shape):
    """The same, to one level, as enlarging the whole and then cutting out the middle."""
    from torchvision import transforms

    image = Image.fromarray(np.random.default_rng(5).integers(0, 256, (*shape, 3), dtype=np.uint8))
    steps = transforms.Compose([transforms.Resize(24), transforms.CenterCrop(24)])
    expected = np.asarray(steps(image)).transpose(2, 0, 1).astype(int)
    assert np.abs(read(encoded(image), size=24) - expected).max() <= 1


def test_a_strip_takes_no_more_memory_than_a_square():
    script = (
        "import io, resource, sys\nfrom PIL import Image\n"
        "from t3vae.datasets.image_files import decode\nstream = io.BytesIO()\n"
        "Image.new('L', (int(sys.argv[1]), int(sys.argv[2])), 7).save(stream, 'PNG')\n"
        "decode(stream.getvalue(), 'x', channels=1, size=512, crop=None)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    peaks = []
    for sides in (("300", "300"), ("2", "45000")):
        done = subprocess.run(
            [sys.executable, "-c", script, *sides],
            env={"PYTHONPATH": ":".join(sys.path), "OMP_NUM_THREADS": "1"},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        peaks.append(int(done.stdout))
    assert peaks[1] < peaks[0] + 30_000, peaks  # kilobytes; the whole would be 6 GB


# --- messages ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content", [b"<!DOCTYPE html><html>", b"", b"GIF89a" + bytes(40), b"PK\3\4"]
)
def test_files_that_are_no_images_are_described_alike_each_time(content):
    messages = set()
    for _ in range(2):
        with pytest.raises(DataError) as caught:
            read(content)
        messages.add(str(caught.value))
        keep = io.BytesIO(content)  # takes the place in memory of the one before
    (message,) = messages
    assert "0x" not in message and "BytesIO" not in message and keep
    assert repr(content[:16]) in message or "is empty" in message


def test_no_error_holds_an_address_in_memory():
    from t3vae import errors

    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, Exception):
            assert "0x" not in str(kind(f"{object()} and {read}"))
    assert "0x" not in errors.ConfigError([str(object())]).problems[0]
    assert str(errors.DataError("mask 0x1f at byte 3")) == "mask 0x1f at byte 3"
