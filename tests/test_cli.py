"""The command line: help, errors without tracebacks, exit status."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from copies import t3vae

from t3vae.maths.constants import gamma_constants

ROOT = Path(__file__).resolve().parents[1]


def test_help_names_every_verb(tmp_path: Path) -> None:
    text = t3vae("--help", cwd=tmp_path).stdout
    verbs = "prepare train sample evaluate collect figure report check plan verify constants params"
    for verb in verbs.split():
        assert f"\n  {verb} " in text


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    program = (
        "import sys; from t3vae import cli\n"
        "try: cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('torch', 'numpy', 'scipy', 'pandas', 'pydantic') if m in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    out = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert out.stdout.strip().endswith("[]")


def test_constants(tmp_path: Path) -> None:
    done = t3vae("constants", "--nu", "5", "--n", "64", "--m", "8", "--json", cwd=tmp_path)
    expected = gamma_constants(5.0, 64, 8, 1.0)
    values = json.loads(done.stdout)
    assert values["v_star"] == expected.v_star
    assert values["alpha"] == expected.alpha


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["constants", "--nu", "2", "--n", "1", "--m", "1"], "greater than 2"),
        (["constants", "--nu", "x", "--n", "1", "--m", "1"], "not a valid float"),
        (["train", "--experiment", "e", "--model", "m", "--seed", "0"], "params.yaml"),
        (["prepare", "--dataset", "d", "--config", "{"], "not JSON"),
        (["prepare", "--dataset", "d", "--config", "[]"], "must be a JSON object"),
        (["nothing"], "No such command"),
        (["params", "--params", "missing.yaml"], "missing.yaml"),
    ],
)
def test_mistakes_end_with_status_2(arguments: list[str], words: str, tmp_path: Path) -> None:
    done = t3vae(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["--experiment", "univariat", "--model", "vae", "--seed", "0"], "univariat"),
        (["--experiment", "univariate", "--model", "vea", "--seed", "0"], "vea"),
        (["--experiment", "univariate", "--model", "vae", "--seed", "77"], "77"),
    ],
)
def test_unknown_names(names: list[str], words: str, tmp_path: Path) -> None:
    done = t3vae("train", *names, "--params", str(ROOT / "params.yaml"), cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_names_that_the_locale_cannot_show(tmp_path: Path, monkeypatch) -> None:
    """Output is text of the locale, with signs for the rest, and never a traceback."""
    for key, value in {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}.items():
        monkeypatch.setenv(key, value)
    script = (
        "from t3vae import cli\n"
        "@cli.cli.command()\ndef shout():\n    print('caf\\u00e9 \\udce9')\n"
        "cli.main(['shout'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "caf\\xe9 \\udce9\n"), done.stderr


def test_a_missing_input_ends_with_status_1(tmp_path: Path) -> None:
    done = t3vae(
        "train", "--experiment", "univariate_smoke", "--model", "vae", "--seed", "0",
        "--params", str(ROOT / "params.yaml"), cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 1
    assert "manifest.json: no such file" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_steps_by_hand(tmp_path: Path) -> None:
    """Prepare to evaluate on the smoke data, twice: same bytes."""
    run = ["--experiment", "univariate_smoke", "--model", "t3vae_nu9", "--seed", "1"]
    common = ["--params", str(ROOT / "params.yaml"), "--device", "cpu"]
    results = []
    for name in ("a", "b"):
        root = tmp_path / name
        root.mkdir()
        prepared = t3vae("prepare", "--dataset", "univariate_smoke", *common[:2], cwd=root)
        assert prepared.returncode == 0, prepared.stderr
        for verb in ("train", "sample", "evaluate"):
            done = t3vae(verb, *run, *common, cwd=root)
            assert done.returncode == 0, done.stderr
            assert done.stdout == ""
        assert not any((root / "scratch").rglob("*.safetensors"))
        files = sorted(p for p in root.rglob("*") if p.is_file() and p.name != "provenance.json")
        results.append({str(p.relative_to(root)): p.read_bytes() for p in files})
    assert results[0] == results[1]
    kinds = {name.split("/")[1] for name in results[0]}
    assert kinds == {"prepared", "runs", "samples", "metrics"}


@pytest.mark.parametrize(
    ("package", "verb", "extra"),
    [
        ("pandas", ("collect", "--experiment", "univariate_smoke"), "workflow"),
        ("pandas", ("report",), "workflow"),
        ("jinja2", ("report",), "workflow"),
        (
            "matplotlib",
            ("figure", "--experiment", "univariate_smoke", "--name", "metrics"),
            "workflow",
        ),
    ],
)
def test_a_package_that_is_not_installed(
    package: str, verb: tuple[str, ...], extra: str, tmp_path: Path
) -> None:
    """As after a base installation: one line that names the extra."""
    program = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "from t3vae.cli import main\n"
        f"main([*{verb!r}, '--params', {str(ROOT / 'params.yaml')!r}])"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith(f"t3vae: {package} is not installed, which this step needs.")
    assert f"pip install 't3vae[{extra}]'" in done.stderr


def test_the_extras_are_those_of_the_package() -> None:
    import tomllib

    from t3vae.cli import _EXTRAS

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = {"sklearn": "scikit-learn", "PIL": "pillow"}
    for extra, modules in _EXTRAS.items():
        listed = " ".join(project["optional-dependencies"][extra])
        assert all(names.get(module, module) in listed for module in modules), extra


def test_errors_hold_no_addresses() -> None:
    from t3vae import errors

    text = f"a file ({object()}, {len})."
    kinds = [getattr(errors, name) for name in errors.__all__]
    for kind in kinds:
        assert "0x" not in str(kind(text)) and "<object object>" in str(kind(text))
    assert errors.ConfigError([text, text]).problems == ["a file (<object object>, "
        "<built-in function len>)."] * 2  # fmt: skip
