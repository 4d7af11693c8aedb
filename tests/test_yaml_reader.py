"""The strict reader against two independent YAML readers, and against hostile files."""

from __future__ import annotations

import io
import math

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from t3vae.errors import ConfigError
from t3vae.settings.yaml_reader import MAX_BYTES, MAX_DEPTH, UNKNOWN, Trap, read, scalar

ruamel = pytest.importorskip("ruamel.yaml")


def yaml_1_1(text: str):
    """PyYAML, which Snakemake uses."""
    return yaml.safe_load(f"key: {text}\n")["key"]


def yaml_1_2(text: str):
    """ruamel.yaml, which DVC uses."""
    return ruamel.YAML(typ="safe", pure=True).load(io.StringIO(f"key: {text}\n"))["key"]


LIKE_NUMBERS = st.from_regex(r"[-+]?[0-9_]{0,3}\.?[0-9_]{0,3}(e[-+]?[0-9]{1,2})?", fullmatch=True)
LIKE_WORDS = st.sampled_from(
    [
        "on",
        "ON",
        "off",
        "yes",
        "Yes",
        "no",
        "n",
        "y",
        "true",
        "TRUE",
        "false",
        "null",
        "Null",
        "~",
        "vae",
    ]
)
LIKE_OTHERS = st.from_regex(r"[0-9]{1,4}[-:x][0-9]{1,2}([-:][0-9]{1,2})?", fullmatch=True)
SCALARS = (LIKE_NUMBERS | LIKE_WORDS | LIKE_OTHERS).filter(lambda text: text not in ("-", "", "+"))


@settings(max_examples=400, deadline=None)
@given(SCALARS)
@example("1e-4")
@example("010")
@example("0o10")
@example("0x10")
@example("1:30")
@example("190:20:30.15")
@example("2024-01-02")
@example("1_000")
@example(".5")
@example("5.")
@example("1.0e4")
@example("1.0e+4")
@example("00.5")
@example("-0")
def test_what_is_accepted_means_the_same_to_every_reader(text):
    value = scalar(text)
    if isinstance(value, Trap):
        assert value.message
        return
    for reader in (yaml_1_1, yaml_1_2):
        other = reader(text)
        assert (type(other), other) == (type(value), value), (text, reader.__name__)


@settings(max_examples=200, deadline=None)
@given(LIKE_NUMBERS.filter(lambda text: any(c.isdigit() for c in text)))
def test_what_is_advised_is_accepted_and_is_the_number_meant(text):
    trap = scalar(text)
    if not isinstance(trap, Trap) or "Write " not in trap.message or trap.value is UNKNOWN:
        return
    advised = trap.message.split("Write ")[1].rstrip(".")
    assert scalar(advised) == trap.value == pytest.approx(float(text.replace("_", "")))


@pytest.mark.parametrize("text", ["1e-4", "1e4", "010", "1_000", "on", "yes", "1:30", "0x1F", "y"])
@pytest.mark.parametrize("text_of", [str, str.upper])
def test_traps_are_refused(text, text_of):
    assert isinstance(scalar(text_of(text)), Trap)


@pytest.mark.parametrize(
    "text", [".inf", "-.inf", ".nan", ".NaN", "inf", "nan", "1.0e+999", "9e999"]
)
def test_numbers_that_are_not_finite_are_refused(text):
    trap = scalar(text)
    assert isinstance(trap, Trap) and trap.value is UNKNOWN


def _read(tmp_path, content: str | bytes):
    path = tmp_path / "params.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read(path, "params.yaml")


LAUGHS = "a: &a [x, x]\n" + "".join(
    f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "empty"),
        ("# nothing\n\n", "empty"),
        ("null\n", "empty"),
        (b"a: \xff\xfe\n", r":1: not UTF-8 \(byte 0xff\)"),
        (b"a: 1\nb: caf\xe9\n", ":2: not UTF-8"),
        ("a: 1\n".encode("utf-16"), "not UTF-8"),
        (b"a: 1\nb: \x00\n", r":2: control character U\+0000"),
        ("a: 1\nb:\n\tc: 2\n", ":3: a tab in the indentation"),
        ("a: [1, 2\nb: 3\n", "not YAML"),
        ("a: b: c\n", ":1: not YAML"),
        ("a: 'open\n", "not YAML"),
        ("a: 1\n---\nb: 2\n", ":2: a second document"),
        (LAUGHS, ":1: &a: anchors and aliases are not allowed"),
        ("a: *b\n", "not allowed|not YAML"),
        ("a: &a\n  b: *a\n", "anchors"),
        ("a: !!python/object/apply:os.system ['true']\n", "tags are not allowed"),
        ("a: !!float 3\n", "tags are not allowed"),
        ("a: !mine 3\n", "tags are not allowed"),
        ("a: " + "[" * (MAX_DEPTH + 5), "nested more than"),
        ("? [a, b]\n: 1\n", "a key must be a name"),
        ("{" * 100_000, "a key must be a name"),
        ("x" * (MAX_BYTES + 1), "larger than"),
    ],
)
def test_a_hostile_file_ends_in_one_message(tmp_path, content, message):
    with pytest.raises(ConfigError, match=message) as caught:
        _read(tmp_path, content)
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].startswith("params.yaml")
    assert caught.value.problems[0].endswith(".")


def test_missing_file_and_folder(tmp_path):
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(ConfigError, match=r"no such file|cannot be read"):
            read(path, "params.yaml")


def test_problems_within_a_file_are_collected_with_their_lines(tmp_path):
    document = _read(tmp_path, "a: 1e-4\nb:\n  c: on\n  c: 2\nnull: 3\n1: 4\n")
    found = [(path, line, text) for path, line, text, _ in document.problems]
    assert found == [
        (("a",), 1, "1e-4"),
        (("b", "c"), 3, "on"),
        (("b", "c"), 4, None),
        ((), 5, "null"),
        ((), 6, "1"),
    ]
    assert "first is on line 3" in document.problems[2][3]
    assert document.values["a"] == pytest.approx(1e-4)


def test_lines_and_quoted_text(tmp_path):
    document = _read(tmp_path, "# top\na:\n  - 1\n  - {b: 'on'}\nc: |\n  010\nd: '1'\n")
    assert document.values == {"a": [1, {"b": "on"}], "c": "010\n", "d": "1"}
    assert document.lines[("a",)] == 2
    assert document.lines[("a", 1, "b")] == 4
    assert document.problems == []


def test_a_byte_order_mark_and_windows_line_ends_are_harmless(tmp_path):
    document = _read(tmp_path, b"\xef\xbb\xbfa: 1\r\nb: 2.5\r\n")
    assert document.values == {"a": 1, "b": 2.5}
    assert math.isclose(document.values["b"], 2.5)
