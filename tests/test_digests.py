"""Digests: what changes them and, as important, what does not."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t3vae.errors import ConfigError, DataError
from t3vae.provenance import closure, digests

VAE = {"model": {"family": "vae"}, "network": {"kind": "mlp"}}
T3VAE = {"model": {"family": "t3vae", "nu": 9.0}, "network": {"kind": "mlp"}}

PACKAGE = {
    "__init__.py": "from t3vae.never import anything",
    "cli.py": "import t3vae.stages.train",
    "errors.py": "class E(Exception): ...",
    "runtime/seeding.py": "def seed(): return 1",
    "objective.py": "GAMMA = 1.0",
    "runtime/__init__.py": "",
    "stages/__init__.py": "",
    "stages/train.py": """
        '''Train.'''
        from typing import TYPE_CHECKING
        from t3vae import errors, models
        from t3vae.runtime import seeding
        if TYPE_CHECKING:
            from t3vae.unrelated import Thing
        def run():
            '''Run.'''
            return seeding.seed()  # a comment
        """,
    "stages/figure.py": "",
    "models/__init__.py": """
        def build(name): return name
        """,
    "models/base.py": "class Model: ...",
    "models/vae.py": "from .base import Model",
    "models/t3vae.py": """
        def loss():
            from t3vae.objective import GAMMA
            return GAMMA
        """,
    "networks/__init__.py": "",
    "networks/mlp.py": "WIDTH = 64",
    "figures/__init__.py": "",
    "figures/a.py": "def draw(): return 1",
    "figures/b.py": "def draw(): return 2",
    "unrelated.py": "class Thing: ...",
}

CATALOGUE = {
    room: {name: SimpleNamespace(code=code) for name, code in table.items()}
    for room, table in {
        "models": {"vae": "t3vae.models.vae:VAE", "t3vae": "t3vae.models.t3vae:T3VAE"},
        "networks": {"mlp": "t3vae.networks.mlp:build"},
        "figures": {"a": "t3vae.figures.a:draw", "b": "t3vae.figures.b:draw"},
    }.items()
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A small package in place of the real one; returns its folder."""
    folder = tmp_path / "t3vae"
    for name, text in PACKAGE.items():
        write(folder / name, text)
    monkeypatch.setattr(closure, "__file__", str(folder / "provenance/closure.py"))
    monkeypatch.setattr(closure, "CATALOGUE", CATALOGUE)
    forget()
    yield folder
    forget()


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dedent(text), encoding="utf-8")


def forget() -> None:
    """Forget what was read, as a new process would."""
    for module in (closure, digests):
        for value in vars(module).values():
            if hasattr(value, "cache_clear"):
                value.cache_clear()


def source(verb: str, *configs: dict) -> str:
    forget()
    return digests.source_digest(verb, configs[0], configs[1:])


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_closure_follows_imports_and_names(package):
    def modules(verb, config):
        return [
            name.removeprefix("t3vae.") for name in closure.modules(closure.start(verb, config))
        ]

    common = [
        "models",
        "networks",
        "networks.mlp",
        "runtime",
        "runtime.seeding",
        "stages",
        "stages.train",
    ]
    assert modules("train", VAE) == sorted([*common, "models.base", "models.vae"])
    assert modules("train", T3VAE) == sorted([*common, "models.t3vae", "objective"])
    assert modules("figure", {"name": "a"}) == ["figures", "figures.a", "stages", "stages.figure"]


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("stages/train.py", "# a comment", "# another comment"),
        ("stages/train.py", "'''Train.'''", "'''Trains one model.'''"),
        ("stages/train.py", "'''Run.'''", "\n\n    '''Runs, at length.'''\n"),
        ("stages/train.py", "'''Train.'''", ""),
        ("stages/train.py", "import Thing", "import Thing, Other"),
        ("networks/mlp.py", "WIDTH = 64", 'WIDTH = 64\n"""Width of a layer."""\n'),
        ("cli.py", "import t3vae.stages.train", "x = 1"),
        ("errors.py", "...", "status = 3"),
        ("__init__.py", "anything", "nothing"),
        ("unrelated.py", "...", "x = 1"),
        ("models/t3vae.py", "GAMMA\n", "2 * GAMMA\n"),
        ("objective.py", "1.0", "2.0"),
        ("figures/a.py", "1", "3"),
    ],
)
def test_edits_that_do_not_concern_a_job(package, file, old, new):
    before = source("train", VAE)
    edit(package / file, old, new)
    assert source("train", VAE) == before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("stages/train.py", "seeding.seed()", "seeding.seed() + 1"),
        ("stages/train.py", "'''Run.'''", "x = '''Run.'''"),
        ("runtime/seeding.py", "1", "2"),
        ("models/base.py", "...", "x = 1"),
        ("networks/mlp.py", "64", "32"),
        ("models/__init__.py", "return name", "return 1, name"),
    ],
)
def test_edits_that_concern_a_job(package, file, old, new):
    before = source("train", VAE)
    edit(package / file, old, new)
    assert source("train", VAE) != before


def test_new_file_concerns_nobody(package):
    before = source("train", VAE), source("figure", {"name": "a"})
    write(package / "models/new.py", "class New: ...")
    write(package / "figures/c.py", "def draw(): return 4")
    assert (source("train", VAE), source("figure", {"name": "a"})) == before


def test_objective_concerns_its_users_only(package):
    before = source("train", VAE), source("train", T3VAE)
    edit(package / "objective.py", "1.0", "2.0")
    after = source("train", VAE), source("train", T3VAE)
    assert after[0] == before[0] and after[1] != before[1]


def test_unknown_name_is_refused(package):
    with pytest.raises(ConfigError, match=r"figures: 'z' is not in the catalogue"):
        source("figure", {"name": "z"})


def test_uses_add_the_code_of_earlier_jobs(package):
    write(package / "stages/sample.py", "x = 1")
    alone, with_run = source("sample", {}), source("sample", {}, T3VAE)
    edit(package / "objective.py", "1.0", "2.0")
    assert source("sample", {}) == alone
    assert source("sample", {}, T3VAE) != with_run


def test_family_by_import_path(package, tmp_path, monkeypatch):
    write(tmp_path / "my_models/__init__.py", "raise RuntimeError('must not be imported')")
    write(tmp_path / "my_models/cauchy.py", "from t3vae.objective import GAMMA\nfrom . import help")
    write(tmp_path / "my_models/help.py", "A = 1")
    monkeypatch.syspath_prepend(str(tmp_path))
    own = {"model": {"family": "my_models.cauchy:Cauchy"}, "network": {"kind": "mlp"}}
    before = source("train", own)
    for path, old, new in [
        (tmp_path / "my_models/cauchy.py", "GAMMA\n", "GAMMA as g\n"),
        (tmp_path / "my_models/help.py", "A = 1", "A = 2"),
        (package / "objective.py", "1.0", "2.0"),
    ]:
        edit(path, old, new)
        after = source("train", own)
        assert after != before, path
        before = after
    with pytest.raises(ConfigError, match=r"no_such\.module.*PYTHONPATH"):
        source("train", {"model": {"family": "no_such.module:Model"}})


def test_syntax_error_is_readable(package):
    write(package / "models/vae.py", "def broken(:\n")
    with pytest.raises(ConfigError, match=r"models/vae\.py:1: not Python source"):
        source("train", VAE)


def test_real_closures_leave_configuration_and_help_out():
    """Whatever loads and checks params.yaml is outside every digest of code."""
    forget()
    code = "import sys, t3vae.settings.parameters, t3vae.cli; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    light = {name for name in loaded if name == "t3vae" or name.startswith("t3vae.")}
    uses = [T3VAE, {"source": "t_mixture_1d"}]
    for verb in ("prepare", "train", "sample", "evaluate", "collect", "figure", "report"):
        covered = set(closure.modules(closure.start(verb, {"name": "history"}, uses)))
        assert f"t3vae.stages.{verb}" in covered
        assert not covered & light - {"t3vae.runtime.files", "t3vae.runtime.seeding"}, verb


def test_real_objective_is_in_t3vae_only():
    forget()
    assert "t3vae.maths.divergence" in closure.modules(closure.start("train", T3VAE))
    assert "t3vae.maths.divergence" not in closure.modules(closure.start("train", VAE))


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(st.dictionaries(st.text(max_size=3), json_values, max_size=4))
def test_digest_does_not_depend_on_order(value):
    turned = dict(reversed(value.items()))
    assert digests.digest(turned) == digests.digest(value)
    expected = hashlib.sha256(digests.canonical_json(value).encode()).hexdigest()[:16]
    assert digests.digest(value) == expected


def test_digest_tells_values_apart():
    values = [{}, [], None, {"a": 1}, {"a": 1.0}, {"a": "1"}, {"a": [1]}, {"b": 1}, "a", True]
    assert len({digests.digest(value) for value in values}) == len(values)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, object()])
def test_canonical_json_refuses(value):
    with pytest.raises(ConfigError):
        digests.canonical_json({"a": value})


def test_file_digest(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"content" * 100_000)
    assert digests.file_digest(path) == hashlib.sha256(b"content" * 100_000).hexdigest()[:16]
    with pytest.raises(DataError, match="nowhere"):
        digests.file_digest(tmp_path / "nowhere")


def test_provenance_has_three_parts(package):
    forget()
    made = digests.provenance("train", VAE, {"b": "2", "a": "1"})
    assert made == {
        "config": digests.digest(VAE),
        "sources": digests.source_digest("train", VAE),
        "inputs": {"a": "1", "b": "2"},
    }
