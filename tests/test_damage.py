"""Generated damage of every file that is read: the right content or a typed error.

Together with the generated archives and pickles of ``test_archives`` and the generated
parameter files of ``test_parameters`` these are more than 2 000 bad inputs.
"""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import t3vae
from t3vae.errors import CheckpointError, ConfigError, DataError, T3VAEError
from t3vae.runtime import files
from t3vae.settings import parameters
from t3vae.training import checkpoint
from t3vae.workflow import jobs as job_configs
from t3vae.workflow.plan import Plan

ROOT = Path(__file__).parents[1]
EDITS = st.lists(
    st.tuples(st.integers(0, 10**6), st.integers(0, 8), st.binary(max_size=6)),
    min_size=1,
    max_size=3,
)
FLIPS = st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 255)), min_size=1, max_size=2)
JSON = '{"arrays": {"train.npy": {"sha256": "abcd"}}, "tail_index": [5.0, null], "name": "é"}'
TENSORS = {
    "samples/prior": np.arange(24, dtype=np.float32).reshape(8, 3),
    "labels": np.arange(5, dtype=np.int64),
    "empty": np.zeros((0, 2), np.float32),
}


def edited(content: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    for at, cut, new in edits:
        place = at % (len(content) + 1)
        content = content[:place] + new + content[place + cut :]
    return content


def flipped(content: bytes, flips: list[tuple[int, int]]) -> bytes:
    array = bytearray(content)
    for at, bits in flips:
        array[at % len(array)] ^= bits
    return bytes(array)


def refusal_or(read: Callable[[], Any], path: Path, kind: type[T3VAEError] = DataError) -> Any:
    """Return what was read, or None after a typed error that names the file."""
    try:
        return read()
    except kind as error:
        message = str(error)
    assert str(path) in message and message.count("\n") == 0
    return None


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("damage")


# --- tensors: any change is noticed, by the checksum ------------------------------------------


@pytest.fixture(scope="module")
def tensor_file(folder: Path) -> bytes:
    files.write_tensors(folder / "whole.safetensors", TENSORS, {"key": "value", "more": "x"})
    return (folder / "whole.safetensors").read_bytes()


def same(read: dict[str, np.ndarray]) -> bool:
    return set(read) == set(TENSORS) and all(
        read[name].dtype == TENSORS[name].dtype and np.array_equal(read[name], TENSORS[name])
        for name in TENSORS
    )


@settings(max_examples=300, deadline=None)
@given(flips=FLIPS, edits=st.one_of(st.just([]), EDITS))
def test_damaged_tensors(folder, tensor_file, flips, edits) -> None:
    content = edited(flipped(tensor_file, flips), edits)
    assume(content != tensor_file)
    path = folder / "a.safetensors"
    path.write_bytes(content)
    read = refusal_or(lambda: files.read_tensors(path), path)
    assert read is None or same(read), "damage was read as numbers"


def test_every_single_byte_of_tensors(folder, tensor_file) -> None:
    path = folder / "a.safetensors"
    for at in range(len(tensor_file)):
        path.write_bytes(flipped(tensor_file, [(at, 1)]))
        with pytest.raises(DataError, match="damaged"):
            files.read_tensors(path)


@settings(max_examples=100, deadline=None)
@given(
    header=st.dictionaries(
        st.sampled_from(["a", "__metadata__", "b"]),
        st.one_of(
            st.none(),
            st.integers(),
            st.text(max_size=3),
            st.fixed_dictionaries(
                {
                    "dtype": st.sampled_from(["F32", "U8", "BF16", "F8_E4M3", "X", "", 3]),
                    "shape": st.lists(st.integers(-2, 2**63), max_size=3),
                    "data_offsets": st.lists(st.integers(-5, 2**64), min_size=1, max_size=3),
                }
            ),
        ),
        min_size=1,
    ),
    body=st.binary(min_size=1, max_size=20),
)
def test_made_up_tensor_headers(folder, header, body) -> None:
    text = json.dumps(header).encode()
    path = folder / "a.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)
    with pytest.raises(DataError):
        files.read_tensors(path)


def test_metadata_has_one_order(folder, tensor_file) -> None:
    """The order of a hash table would make two equal trainings differ."""
    names = json.loads(tensor_file[8 : 8 + int.from_bytes(tensor_file[:8], "little")])
    assert list(names["__metadata__"]) == ["checksum", "key", "more"]


# --- arrays -------------------------------------------------------------------------------------


@cache
def array_bytes() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.arange(12, dtype=np.float32).reshape(4, 3))
    return stream.getvalue()


@pytest.mark.filterwarnings("ignore:Reading `.npy`")
@settings(max_examples=300, deadline=None)
@given(edits=EDITS)
def test_damaged_arrays(folder, edits) -> None:
    """The header is all that an array file checks; content is checked by its manifest."""
    path = folder / "a.npy"
    path.write_bytes(edited(array_bytes(), edits))
    read = refusal_or(lambda: files.read_npy(path), path)
    assert read is None or (isinstance(read, np.ndarray) and not read.dtype.hasobject)


@settings(max_examples=100, deadline=None)
@given(
    header=st.one_of(
        st.text(max_size=40),
        st.builds(
            "{{'descr': {!r}, 'fortran_order': {}, 'shape': {}}}".format,
            st.sampled_from(["|O", "O", "<f4", "zz", [("a", "|O")], None, "<M8", "<U9"]),
            st.sampled_from(["False", "True", "0", "print(1)", "__import__('os')"]),
            st.sampled_from(["(10**9, 10**9)", "(-1,)", "(3", "[2]", "(2**70,)", "(8, 4000)", "1"]),
        ),
    )
)
def test_made_up_array_headers(folder, header) -> None:
    text = header.encode("latin-1", "replace") + b"\n"
    path = folder / "a.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(16))
    with pytest.raises(DataError):
        files.read_npy(path)


def test_other_formats_are_no_arrays(folder) -> None:
    path = folder / "a.npy"
    with open(path, "wb") as stream:
        np.savez(stream, a=np.zeros(3))
    with pytest.raises(DataError):
        files.read_npy(path)
    path.write_bytes(pickle.dumps(np.zeros(3)))
    with pytest.raises(DataError):
        files.read_npy(path)


# --- JSON ---------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(edits=EDITS)
def test_damaged_json(folder, edits) -> None:
    path = folder / "a.json"
    path.write_bytes(edited(JSON.encode(), edits))
    refusal_or(lambda: files.read_json(path), path)


@settings(max_examples=100, deadline=None)
@given(content=st.binary(min_size=1, max_size=80))
def test_random_json(folder, content) -> None:
    path = folder / "a.json"
    path.write_bytes(b"{" + content.replace(b"}", b""))
    with pytest.raises(DataError):
        files.read_json(path)


# --- checkpoints ----------------------------------------------------------------------------------

CHANGES = st.sampled_from(
    [None, -1, 0, 1.5, "x", [], {}, [3, "a"], {"a": 1}, True, 2**70, "os:path"]
)


@pytest.fixture(scope="module")
def trained(folder: Path) -> Path:
    torch.manual_seed(0)
    path = folder / "model.safetensors"
    network = {"kind": "mlp", "hidden": [4], "negative_slope": 0.01}
    model = t3vae.build_model({"family": "t3vae", "nu": 5.0}, [2], 1, sigma=0.5, network=network)
    checkpoint.save(model, path, metadata={"provenance": "{}"})
    return path


def places(value: object, path: tuple = ()) -> list[tuple]:
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else ()
    items = enumerate(value) if isinstance(value, list) else items
    for key, item in items:
        found += places(item, (*path, key))
    return found


def put(value, path, new) -> None:
    for part in path[:-1]:
        value = value[part]
    value[path[-1]] = new


@pytest.mark.filterwarnings("ignore:Initializing zero-element")
@settings(max_examples=200, deadline=None)
@given(data=st.data(), new=CHANGES)
def test_made_up_descriptions(trained, folder, data, new) -> None:
    """A model is built only from a description that fits its weights."""
    header, tensors = files.read_tensors_header(trained), files.read_tensors(trained)
    description = json.loads(header["description"])
    place = data.draw(st.sampled_from(places(description)))
    put(description, place, new)
    path = folder / "changed.safetensors"
    files.write_tensors(path, tensors, {"description": json.dumps(description)})
    model = refusal_or(lambda: t3vae.load(path), path, CheckpointError)
    size = sum(tensor.size for tensor in tensors.values())
    assert model is None or sum(p.numel() for p in model.parameters()) == size


@settings(max_examples=150, deadline=None)
@given(flips=FLIPS)
def test_damaged_checkpoints(trained, folder, flips) -> None:
    content = flipped(trained.read_bytes(), flips)
    assume(content != trained.read_bytes())
    path = folder / "damaged.safetensors"
    path.write_bytes(content)
    expected = t3vae.load(trained).state_dict()
    try:
        read = t3vae.load(path).state_dict()
    except CheckpointError:
        return
    assert all(torch.equal(read[name], expected[name]) for name in expected)


def test_loading_imports_nothing(trained, folder, monkeypatch) -> None:
    """A family outside the package is code; a file alone does not run it."""
    (folder / "hostile.py").write_text("raise SystemExit('it ran')\n")
    monkeypatch.syspath_prepend(folder)
    header, tensors = files.read_tensors_header(trained), files.read_tensors(trained)
    description = json.loads(header["description"])
    path = folder / "changed.safetensors"
    for family in (
        "hostile:Model",
        "subprocess:Popen",
        "os:system",
        "t3vae.runtime.files:atomic",
        "pathlib:Path",
    ):
        description["model"] = {"family": family}
        files.write_tensors(path, tensors, {"description": json.dumps(description)})
        with pytest.raises(CheckpointError, match=r"outside this package|derived from"):
            t3vae.load(path)


# --- configurations of jobs ---------------------------------------------------------------------

JOBS = {
    job.verb: job for job in Plan(parameters.load(ROOT / "params.yaml", {"suite": "smoke"})).jobs()
}


def test_every_job_s_own_configuration_is_accepted() -> None:
    for suite in ("demo", "paper", "smoke"):
        for job in Plan(parameters.load(ROOT / "params.yaml", {"suite": suite})).jobs():
            assert job_configs.parse(job.verb, job.json) == job.config


@settings(max_examples=300, deadline=None)
@given(
    data=st.data(), verb=st.sampled_from(sorted(JOBS)), new=st.sampled_from(["gone", "odd", "new"])
)
def test_configurations_of_another_version(data, verb, new) -> None:
    """A key more or less anywhere, or a value of another kind, is refused and named."""
    config = json.loads(JOBS[verb].json)
    place = data.draw(st.sampled_from(places(config)))
    *parents, key = place
    inner = config
    for part in parents:
        inner = inner[part]
    if new == "gone":
        assume(isinstance(inner, dict))
        free = ("models", "experiments", "families", "labels", "captions", "extractors")
        optional = ("images", "controls", "extractors")
        assume(key not in optional and not (parents and parents[-1] in free))
        del inner[key]
    elif new == "odd":
        inner[key] = {"oops": [None]}
    else:
        target = inner[key] if isinstance(inner[key], dict) else config
        target["Oops-1"] = 1
    with pytest.raises(ConfigError, match="--config: "):
        job_configs.parse(verb, json.dumps(config))


def test_all_errors_are_of_one_family() -> None:
    assert issubclass(DataError, T3VAEError) and issubclass(CheckpointError, T3VAEError)
