"""Names in folders and archives: read as they are meant, whoever spelled or packed them."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import unicodedata
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from copies import t3vae
from hypothesis import given
from hypothesis import strategies as st

from t3vae.datasets.shelves import FolderShelf, ZipShelf, open_shelf
from t3vae.errors import DataError
from t3vae.published.archives import read_members
from t3vae.runtime import files
from t3vae.runtime.scratch import Scratch

NOBODY = 65534
COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD"))


class Unsaid(zipfile.ZipInfo):
    """A member whose name is these bytes, as programs write that do not say what they wrote."""

    __slots__ = ("name",)

    def _encodeFilenameFlags(self):  # noqa: N802
        return self.name, self.flag_bits


def zipped(path: Path, *names: str | bytes) -> Path:
    """An archive with these names as they are; the content of each is its number."""
    with zipfile.ZipFile(path, "w") as archive:
        for number, name in enumerate(names):
            kind = Unsaid if isinstance(name, bytes) else zipfile.ZipInfo
            info = kind(f"x{number}")
            if isinstance(name, bytes):
                info.name = name
            else:
                info.filename = name
            archive.writestr(info, str(number))
    return path


def folder(path: Path, *names: str | bytes) -> Path:
    for number, name in enumerate(names):
        file = path / (os.fsdecode(name) if isinstance(name, bytes) else name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(str(number))
    return path


@contextmanager
def as_somebody(root: Path) -> Iterator[None]:
    """Without the rights of the administrator, who may read everything."""
    if os.geteuid() != 0:
        yield
        return
    for above in (root, *root.parents):
        if above != Path("/tmp") and above.is_relative_to(tempfile.gettempdir()):
            above.chmod(0o755)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def place() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="t3vae-names-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


# --- archives ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spelled",
    [
        "{}/{}",
        "{}\\{}",
        "./{}/{}",
        ".\\{}\\{}",
        "/{}/{}",
        "C:\\{}\\{}",
        "c:/{}/./{}",
        "{}//{}",
        "pets\\{}/{}",
        "./pets/{}/{}",
    ],
)
def test_archives_of_other_systems_have_the_same_classes(tmp_path, spelled):
    names = [(kind, f"{i}.png") for kind in ("cat", "dog") for i in range(2)]
    shelf = ZipShelf(zipped(tmp_path / "a.zip", *(spelled.format(*name) for name in names)))
    assert shelf.names == ["cat/0.png", "cat/1.png", "dog/0.png", "dog/1.png"]
    assert shelf.folders == ["cat", "dog"]
    assert [shelf.read(name) for name in shelf.names] == [b"0", b"1", b"2", b"3"]
    assert spelled.format("dog", "1.png") in shelf.where("dog/1.png")


@pytest.mark.parametrize(
    "name", ["../evil.png", "cat/../../evil.png", "cat\\..\\1.png", "C:\\..\\x"]
)
def test_names_that_lead_out_of_an_archive_are_refused(tmp_path, name):
    with pytest.raises(DataError, match="leads out of the archive"):
        ZipShelf(zipped(tmp_path / "a.zip", "cat/1.png", name))


def test_folders_of_an_archive_are_no_files(tmp_path):
    shelf = ZipShelf(zipped(tmp_path / "a.zip", "./", "cat/", "dog\\", "dog\\1.png", "cat/1.png"))
    assert shelf.names == ["cat/1.png", "dog/1.png"] and shelf.folders == ["cat", "dog"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("cat/1.png", "./cat/1.png"),
        ("cat/1.png", "cat\\1.png"),
        (f"{COMPOSED}/1.png", f"{DECOMPOSED}/1.png"),
    ],
)
def test_two_spellings_of_one_name_in_an_archive(tmp_path, first, second):
    with pytest.raises(DataError, match="there twice, spelled") as caught:
        ZipShelf(zipped(tmp_path / "a.zip", "dog/1.png", first, second))
    assert ascii(first) in str(caught.value) and ascii(second) in str(caught.value)


def test_letters_that_differ_in_size_stay_apart(tmp_path):
    """As in a folder: letters as classes are a data set, and nothing is unpacked."""
    names = ["A/1.png", "a/1.png", "a/1.PNG"]
    assert ZipShelf(zipped(tmp_path / "a.zip", *names)).names == sorted(names)


def test_names_in_utf8_that_do_not_say_so(tmp_path):
    """As macOS packs them; a name of DOS is none, and is read as one of DOS."""
    names = f"{DECOMPOSED}/1.png".encode(), "caf\u00e9/2.png".encode("cp437"), b"dog/1.png"
    shelf = ZipShelf(zipped(tmp_path / "a.zip", *names))
    assert shelf.names == [f"{COMPOSED}/1.png", f"{COMPOSED}/2.png", "dog/1.png"]
    assert shelf.read(f"{COMPOSED}/1.png") == b"0"


def test_links_and_encrypted_members(tmp_path):
    path = zipped(tmp_path / "a.zip", "cat/1.png", "dog/1.png")
    with zipfile.ZipFile(path, "a") as archive:
        info = zipfile.ZipInfo("dog/2.png")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "1.png")
    with pytest.raises(DataError, match=r"'dog/2.png' is a link"):
        ZipShelf(path)
    content = bytearray(zipped(path, "cat/1.png", "dog/1.png").read_bytes())
    for start in (content.index(b"PK\3\4"), content.index(b"PK\1\2") - 2):
        content[start + 6 + 4 * (start > 0)] |= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="without a password"):
        ZipShelf(path).read("cat/1.png")


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), max_size=6))
def test_any_names_are_read_or_refused(tmp_path_factory, names):
    path = tmp_path_factory.mktemp("zip") / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in dict.fromkeys(names):
            info = zipfile.ZipInfo("x")
            info.filename = name
            archive.writestr(info, name)
    try:
        shelf = ZipShelf(path)
    except DataError as error:
        shelf = str(error)
    if isinstance(shelf, str):
        assert shelf.startswith(str(path))
        return
    for name in shelf.names:
        assert shelf.read(name) and not {"", ".", ".."} & set(name.split("/"))


# --- folders -------------------------------------------------------------------------------


def test_composed_and_decomposed_folders_are_one(tmp_path):
    shelf = FolderShelf(folder(tmp_path / "f", f"train/{COMPOSED}/1", f"test/{DECOMPOSED}/2"))
    assert shelf.names == [f"test/{COMPOSED}/2", f"train/{COMPOSED}/1"]
    assert shelf.read(f"test/{COMPOSED}/2") == b"1"
    assert shelf.where(f"test/{COMPOSED}/2") == f"{tmp_path}/f/test/{DECOMPOSED}/2"
    folder(tmp_path / "f", f"train/{DECOMPOSED}/1")
    with pytest.raises(DataError, match="there twice, spelled"):
        FolderShelf(tmp_path / "f")


def test_names_that_are_not_utf8(tmp_path):
    shelf = FolderShelf(folder(tmp_path / "f", b"cat/caf\xe9.png", b"d\xff/1.png"))
    assert [shelf.read(name) for name in shelf.names] == [b"0", b"1"]
    assert shelf.where(shelf.names[0]) == rf"{tmp_path}/f/cat/caf\xe9.png"


def test_a_backslash_is_what_unpacking_left(tmp_path):
    with pytest.raises(DataError, match=r"f/cat\\1.png: a backslash .* Name the archive itself"):
        FolderShelf(folder(tmp_path / "f", "cat\\1.png"))


def test_a_file_that_would_fill_the_memory_is_refused(tmp_path):
    path = folder(tmp_path / "f", "cat/1.png") / "cat/1.png"
    os.truncate(path, 2**28 + 1)  # a hole: it takes no space on the disk
    with pytest.raises(DataError, match=r"f/cat/1.png: more than 268435456 bytes"):
        FolderShelf(tmp_path / "f").read("cat/1.png")


def pipe(path: Path) -> None:
    os.mkfifo(path)


def listener(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(str(path))


def dangling(path: Path) -> None:
    path.symlink_to("nowhere")


@pytest.mark.parametrize("make", [pipe, listener, dangling])
def test_what_is_no_file_is_never_opened(place, make):
    folder(place / "f", "cat/1.png")
    make(place / "f/cat/2.png")
    with pytest.raises(DataError, match=r"f/cat/2.png: not a file"):
        FolderShelf(place / "f")
    make(place / "alone.zip")
    with pytest.raises(DataError, match=r"alone.zip: n"):
        open_shelf(place / "alone.zip")


# --- rights --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["f", "f/cat", "f/cat/1.png", "a.zip", "a.bin", "a.tar", "a.json", "a.npy"]
)
def test_a_missing_right_is_no_damage(place, name):
    """Nothing is called damaged that may be sound, and nobody is told to delete it."""
    folder(place / "f", "cat/1.png")
    shutil.copy(zipped(place / "a.zip", "cat/1.png"), place / "a.bin")
    for other in ("a.json", "a.npy", "a.tar"):
        (place / other).write_bytes(b"{}")
    (place / name).chmod(0)

    def read() -> None:
        readers = {
            "a.json": files.read_json,
            "a.npy": files.read_npy,
            "a.tar": lambda path: read_members(path, ["cat/1.png"]),
        }
        if name in readers:
            readers[name](place / name)
        else:
            open_shelf(place / name.partition("/")[0]).read("cat/1.png")

    with as_somebody(place), pytest.raises(DataError) as caught:
        read()
    (place / name).chmod(0o755)
    text = str(caught.value)
    assert "cannot be read (Permission denied)" in text and str(place / name) in text
    assert not any(word in text for word in ("amaged", "elete", "etch", "cut"))


@pytest.mark.parametrize("read", [files.read_tensors, files.read_tensors_header, files.read_json])
def test_a_folder_in_the_place_of_a_file_is_no_damage(tmp_path, read):
    with pytest.raises(DataError, match=r"cannot be read \(Is a directory\)"):
        read(tmp_path)


def test_the_state_of_a_training_that_may_not_be_read_is_not_written_over(tmp_path):
    (tmp_path / "state.safetensors").mkdir()
    with pytest.raises(DataError, match=r"state.safetensors: cannot be read"):
        Scratch(tmp_path, "key").load()


# --- another locale ------------------------------------------------------------------------


@pytest.mark.parametrize("locale", ["C", "POSIX"])
def test_names_in_a_locale_without_utf8(tmp_path, locale, monkeypatch):
    """Where Python takes names for ASCII, the same bytes are found and the same text is written."""
    from PIL import Image

    for kind in ("caf\u00e9", "dog"):
        for i in range(8):
            path = tmp_path / "m\u00f6bel" / kind / f"\u00fc{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (4, 4), 16 * i + (kind == "dog")).save(path)
    config = files.json.dumps(
        {
            "dataset": "pics", "source": "image_folder", "folder": "m\u00f6bel", "size": 4,
            "channels": 1, "crop": None, "imbalance": None, "profile": "exponential",
            "test_fraction": 0.5, "validation_fraction": 0.5, "seed": 0, "flip": False,
        }
    )  # fmt: skip
    made = []
    for values in ({}, {"LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}):
        for key, value in values.items():
            monkeypatch.setenv(key, value)
        done = t3vae("prepare", "--dataset", "pics", "--config", config, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        made.append((tmp_path / "data/prepared/pics/manifest.json").read_text(encoding="utf-8"))
    assert made[0] == made[1] and "caf\u00e9" in made[0]
    (tmp_path / "m\u00f6bel/dog/\u00fc.txt").touch()
    done = t3vae("prepare", "--dataset", "pics", "--config", config, cwd=tmp_path)
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    (line,) = [text for text in done.stderr.splitlines() if " CPU seconds " not in text]
    assert line.startswith("t3vae: ") and "not an image by its ending" in line


def test_hidden_names_do_not_count(tmp_path):
    names = ["cat/1.png", ".git/x", "cat/.DS_Store", "Thumbs.db", "__MACOSX/cat/._1.png"]
    assert FolderShelf(folder(tmp_path / "f", *names)).names == ["cat/1.png"]
    assert ZipShelf(zipped(tmp_path / "a.zip", *names)).names == ["1.png"]
