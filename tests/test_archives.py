"""Archives and pickles from elsewhere: read where they are harmless, refused where not."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t3vae.errors import DataError
from t3vae.published.archives import read_members
from t3vae.published.pickles import read_pickle

FILES = {"a/one.bin": bytes(range(256)) * 20, "a/b/two.txt": b"two", "three": b""}
KINDS = ["x.tar", "x.tar.gz", "x.zip"]


def entry(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.size = kind, size
    return member


def tar(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as archive:
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def pack(path: Path, files: dict[str, bytes]) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.mkdir("a")
            for name, content in files.items():
                archive.writestr(name, content)
        return path
    folder = (entry("a", tarfile.DIRTYPE), b"")
    return tar(path, folder, *[(entry(name), content) for name, content in files.items()])


@pytest.mark.parametrize("kind", KINDS)
def test_a_plain_archive_is_read(kind: str, tmp_path: Path) -> None:
    path = pack(tmp_path / kind, FILES)
    assert read_members(path, FILES) == FILES
    assert read_members(path, ["a/b/two.txt", "three"]) == {"a/b/two.txt": b"two", "three": b""}
    with pytest.raises(DataError, match="holds no file four"):
        read_members(path, ["three", "four"])


def refused(path: Path, words: str, **limits: int) -> None:
    """The archive is refused, and nothing is left of it anywhere."""
    before = sorted(path.parent.rglob("*"))
    with pytest.raises(DataError, match=words):
        read_members(path, ["good"], **limits)
    assert sorted(path.parent.rglob("*")) == before


@pytest.mark.parametrize(
    "name",
    ["../evil", "a/../../evil", "/evil", "a/..", "C:evil", "a\\..\\evil", "a\nb", ".", "x" * 2000],
)
@pytest.mark.parametrize("kind", KINDS)
def test_names_outside_the_folder(kind: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / kind
    if kind == "x.zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("good", b"1")
            archive.writestr(name, b"evil")
    else:
        tar(path, (entry("good"), b"1"), (entry(name), b"evil"))
    refused(path, "not a name below")


@pytest.mark.parametrize("name", ["good", "./good"])
def test_the_same_name_twice(name: str, tmp_path: Path) -> None:
    refused(tar(tmp_path / "x.tar", (entry("good"), b"1"), (entry(name), b"2")), "twice")


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE],
)
def test_links_and_devices_of_tar(kind: bytes, tmp_path: Path) -> None:
    member = entry("link", kind)
    member.linkname = "/etc/passwd"
    refused(tar(tmp_path / "x.tar", (entry("good"), b"1"), (member, b"")), "link, a device")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_links_and_devices_of_zip(kind: int, tmp_path: Path) -> None:
    member = zipfile.ZipInfo("link")
    member.external_attr = (kind | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(member, "/etc/passwd")
    refused(tmp_path / "x.zip", "link, a device")


@pytest.mark.parametrize("kind", KINDS)
def test_bombs(kind: str, tmp_path: Path) -> None:
    path = pack(tmp_path / kind, {"good": bytes(3_000_000)})
    refused(path, "beyond the limit", size=1_000_000)
    if kind != "x.tar":
        refused(path, "beyond the limit")  # a thousand times its size
    many = pack(tmp_path / f"many-{kind}", {f"f{i}": b"" for i in range(40)})
    refused(many, "more than 20 entries", files=20)


def test_a_header_that_fills_the_memory(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    tar(path, (entry("long", tarfile.GNUTYPE_LONGNAME), b"x" * 1_000_000), (entry("good"), b""))
    refused(path, "header of the archive is too long")


@pytest.mark.parametrize("kind", KINDS)
def test_cut_archives(kind: str, tmp_path: Path) -> None:
    content = pack(tmp_path / kind, FILES).read_bytes()
    end = len(content.rstrip(b"\0")) if kind == "x.tar" else len(content)
    for cut in (0, 1, 3, 100, end // 2, end - 600, end - 1):
        (tmp_path / kind).write_bytes(content[:cut])
        refused(tmp_path / kind, "cannot be unpacked")


def test_a_damaged_header_in_the_middle_is_not_an_end(tmp_path: Path) -> None:
    path = pack(tmp_path / "x.tar", FILES)
    content = bytearray(path.read_bytes())
    at = content.index(b"a/b/two.txt")
    content[at] ^= 1
    path.write_bytes(content)
    refused(path, "cannot be unpacked")


def test_missing_archive(tmp_path: Path) -> None:
    refused(tmp_path / "none.tar", "no such file")


# --- pickles ------------------------------------------------------------------------------


def batch(rows: int = 20) -> dict[bytes, object]:
    """The shape of a batch of CIFAR."""
    rng = np.random.default_rng(0)
    return {
        b"batch_label": b"training batch 1 of 5",
        b"labels": [int(i) for i in rng.integers(0, 10, rows)],
        b"data": rng.integers(0, 256, (rows, 12), dtype=np.uint8),
        b"filenames": [b"name_%d.png" % i for i in range(rows)],
    }


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_batch_is_read(protocol: int) -> None:
    given = batch()
    if protocol > 4:  # arrays as buffers: a form that no archive has
        given = {**given, b"data": 0}
    read = read_pickle(pickle.dumps(given, protocol))
    np.testing.assert_array_equal(read.pop(b"data"), given.pop(b"data"))
    assert read == given


def test_strings_of_python_2_are_bytes() -> None:
    content = b"\x80\x02}q\x01(U\x04dataq\x02U\x02\xff\x00q\x03U\x06labelsq\x04]q\x05(K\x06K\x09eu."
    assert pickle.loads(content, encoding="bytes") == {b"data": b"\xff\x00", b"labels": [6, 9]}
    assert read_pickle(content) == {b"data": b"\xff\x00", b"labels": [6, 9]}


def test_column_major_arrays() -> None:
    array = np.asfortranarray(np.arange(12, dtype=np.uint8).reshape(3, 4))
    np.testing.assert_array_equal(read_pickle(pickle.dumps(array, 2)), array)


class Evil:
    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[object, ...]:
        return self.call


class State:
    def __init__(self) -> None:
        self.a = 1


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("nested", [False, True])
def test_malicious_pickles(protocol: int, nested: bool, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    for evil in (
        Evil(os.system, f"touch {marker}"),
        Evil(eval, f"open({str(marker)!r}, 'w')"),
        Evil(np.load, str(marker)),
        Evil(getattr, 1, "real"),
        State(),
        {1, 2},
        np.arange(3.0),
        np.array([{}], dtype=object),
        np.uint8,
        np.dtype("u1"),
    ):
        content = pickle.dumps([batch(), {b"x": evil}] if nested else evil, protocol)
        with pytest.raises(DataError, match="It was not run"):
            read_pickle(content)
    assert not marker.exists()


HANDMADE = {
    "another global": b"cos\nsystem\n(S'true'\ntR.",
    "inst": b"(S'true'\nios\nsystem\n.",
    "obj": b"(cos\nsystem\nS'true'\no.",
    "extension": b"\x82\x01.",
    "persistent": b"Pid\n.",
    "memory for a memo": b"\x80\x02]r\xff\xff\xff\x7f0.",
    "huge bytes": b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",
    "huge number": b"L" + b"9" * 100_000 + b"L\n.",
    "itself": b"]q\x00h\x00a.",
    "build on a list": b"]}b.",
    "build on a name": b"cnumpy\nndarray\n}b.",
    "build on a call": b"cnumpy\ndtype\n}U\x01xK\x01sb.",
    "new object": b"\x80\x02cnumpy\nndarray\nK\x05\x85\x81.",
    "call of a type": b"\x80\x02cnumpy\nndarray\nK\x05\x85R.",
    "another encoding": b"c_codecs\nencode\n(Vx\nVzlib\ntR.",
    "set": b"\x80\x04\x8f.",
    "array of a type": b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\ndtype\n(K\x00tU\x01btR.",
    "dtype of objects": b"cnumpy\ndtype\n(U\x01OtR.",
    "empty": b"",
    "no value": b".",
    "mark only": b"(.",
    "zip file": b"PK\x03\x04",
}


def test_the_types_of_numpy_stay_as_they_are() -> None:
    """A state for the type of bytes, as a pickle has it, that would make objects of them."""
    state = b"(K\x03U\x01|N(U\x01atNK\x08K\x01K?t"
    kept = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR"
    content = kept + b"(K\x01(K\x02tcnumpy\ndtype\n(U\x02u1tR" + state + b"bI00\nU\x02\x07\x09tb."
    array = read_pickle(content)
    assert (array.dtype, array.tolist()) == (np.uint8, [7, 9])
    assert np.dtype("u1").itemsize == 1 and not np.dtype("u1").hasobject


@pytest.mark.parametrize("name", HANDMADE)
def test_handmade_pickles(name: str) -> None:
    with pytest.raises(DataError):
        read_pickle(HANDMADE[name])


def test_many_references_cost_little() -> None:
    """A billion laughs: what occurs twice is read once."""
    value: list[object] = [b"ha"]
    for _ in range(60):
        value = [value, value, value]
    read = read_pickle(pickle.dumps(value))
    assert read[0] is read[2]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_key_that_takes_for_ever_is_refused(protocol: int) -> None:
    """The hash of a tuple is not kept: that of this one has 3^60 parts."""
    key: tuple[object, ...] = (b"ha",)
    for _ in range(60):
        key = (key, key, key)
    content = pickle.dumps(key, protocol).removesuffix(b".")
    with pytest.raises(DataError, match="occurs twice"):
        read_pickle(
            content[:2] + b"}" + content[2:] + b"K\x01s."
            if protocol > 1
            else b"}" + content + b"I1\ns."
        )


# --- generated --------------------------------------------------------------------------

BATCHES = [pickle.dumps(batch(3), protocol) for protocol in range(5)]
EDITS = st.lists(
    st.tuples(st.integers(0, 10**6), st.integers(0, 8), st.binary(max_size=4)),
    min_size=1,
    max_size=3,
)


def edited(content: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    for at, cut, new in edits:
        place = at % (len(content) + 1)
        content = content[:place] + new + content[place + cut :]
    return content


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(BATCHES), EDITS)
def test_damaged_pickles(content: bytes, edits: list[tuple[int, int, bytes]]) -> None:
    """A value or a typed error, and the value holds only what is allowed."""
    try:
        value = read_pickle(edited(content, edits))
    except DataError:
        return
    allowed = {dict, list, tuple, bytes, str, int, float, bool, type(None), np.ndarray}
    rest = [value]
    while rest:
        item = rest.pop()
        assert type(item) in allowed
        rest += item if isinstance(item, (list, tuple)) else ()
        rest += [*item, *item.values()] if isinstance(item, dict) else ()


@settings(max_examples=150, deadline=None)
@given(st.binary(min_size=1, max_size=60))
def test_random_pickles(content: bytes) -> None:
    with pytest.raises(DataError):
        read_pickle(b"\x80" + content.replace(b".", b""))


def archives_of_all_kinds() -> list[tuple[str, bytes]]:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        return [(kind, pack(Path(folder) / kind, FILES).read_bytes()) for kind in KINDS]


ARCHIVES = archives_of_all_kinds()


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(ARCHIVES), EDITS)
def test_damaged_archives(
    tmp_path_factory: pytest.TempPathFactory,
    archive: tuple[str, bytes],
    edits: list[tuple[int, int, bytes]],
) -> None:
    """All the files or a typed error; nothing is written."""
    folder = tmp_path_factory.mktemp("damaged")
    path = folder / archive[0]
    path.write_bytes(edited(archive[1], edits))
    try:
        found = read_members(path, FILES)
    except DataError:
        found = dict(FILES)
    assert [p.name for p in folder.iterdir()] == [path.name]
    assert set(found) == set(FILES)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=1500))
def test_random_archives(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.mktemp("random")
    for start in (b"", b"PK\x03\x04"):
        (folder / "x").write_bytes(start + content)
        with pytest.raises(DataError):
            read_members(folder / "x", ["good"])
    (folder / "x").write_bytes(gzip.compress(content))
    with pytest.raises(DataError):
        read_members(folder / "x", ["good"])
