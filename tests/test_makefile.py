"""The Makefile sets up ``.venv`` when it is missing or out of date, and never twice."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]

# Stands for python3.11 outside and inside the environment: computes, but installs nothing.
PYTHON = """#!/bin/sh
case "$1 $2" in
"-m venv")
    mkdir -p "$3/bin" && echo venv >> calls
    cp "$0" "$3/bin/python"
    for tool in snakemake ruff snakefmt mypy; do
        printf '#!/bin/sh\\necho %s "$@" >> calls\\n' $tool > "$3/bin/$tool"
        chmod +x "$3/bin/$tool"
    done ;;
"-m pip") echo "$@" >> calls; test ! -e broken ;;
"-m pytest") echo pytest >> calls ;;
*) exec REAL "$@" ;;
esac
"""


@pytest.fixture
def place(tmp_path) -> Path:
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        shutil.copy(CHECKOUT / name, tmp_path / name)
    python = tmp_path / "tools/python3.11"
    python.parent.mkdir()
    python.write_text(PYTHON.replace("REAL", sys.executable))
    python.chmod(0o755)
    return tmp_path


def make(place: Path, *targets: str, status: int = 0, **variables: str) -> list[str]:
    """Run make; return what it called, without arguments of pip."""
    (place / "calls").unlink(missing_ok=True)
    path = f"{place / 'tools'}{os.pathsep}{os.environ['PATH']}"
    environment = {"PATH": path, "HOME": str(place), **variables}
    done = subprocess.run(
        ["make", *targets], cwd=place, env=environment, capture_output=True, text=True, check=False
    )
    assert bool(done.returncode) == bool(status), done.stdout + done.stderr
    calls = place / "calls"
    return calls.read_text().splitlines() if calls.exists() else []


def installs(calls: list[str]) -> int:
    return sum("-r requirements.lock" in call for call in calls)


@pytest.mark.parametrize("target", ["figures", "test", "quick", "lint"])
def test_environment_is_made_once(place, target):
    calls = make(place, target)
    assert calls[0] == "venv" and installs(calls) == 1
    assert "--require-hashes" in calls[1] and "-e ." in calls[2]
    again = make(place, target)
    assert again == calls[3:] and again


def test_time_stamps_do_not_count(place):
    make(place, "test")
    (place / "requirements.lock").touch()
    os.utime(place / "pyproject.toml", (0, 0))
    assert make(place, "test") == ["pytest"]


def test_changed_lock_is_installed(place):
    make(place, "test")
    original = (place / "requirements.lock").read_text()
    (place / "requirements.lock").write_text(original + "# changed\n")
    assert installs(make(place, "test")) == 1
    assert installs(make(place, "figures")) == 0
    (place / "requirements.lock").write_text(original)
    assert installs(make(place, "test")) == 1


def test_broken_installation_is_no_environment(place):
    (place / "broken").touch()
    assert "pytest" not in make(place, "test", status=2)
    (place / "broken").unlink()
    assert installs(make(place, "test")) == 1


def test_what_the_targets_run(place):
    assert "snakemake -j4" in make(place, "figures")
    assert "snakemake -j4 --directory build/smoke --config suite=smoke" in make(place, "quick")
    tools = [call.split()[0] for call in make(place, "lint")]
    assert tools == ["ruff", "ruff", "snakefmt", "snakemake", "mypy"]


def test_caches_lie_in_build_where_the_home_cannot_be_written(place):
    tool = place / "tools/python3.11"
    tool.write_text(tool.read_text().replace("echo %s", "echo $XDG_CACHE_HOME $MPLCONFIGDIR %s"))
    nowhere = place / "file/home"
    nowhere.parent.write_text("no folder")
    for home, there in ((place / "home", False), (nowhere, True)):
        calls = make(place, "figures", HOME=str(home))
        cache = place / "build/cache"
        said = f"{cache} {cache}/matplotlib snakemake" if there else "snakemake"
        assert calls[-1].startswith(said)


def test_clean_keeps_results(place):
    for name in (
        "results/tables/t.csv",
        "scratch/s",
        "build/smoke/x",
        "src/__pycache__/y",
        "tests/z",
    ):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).touch()
    make(place, "clean")
    assert (place / "results/tables/t.csv").exists() and (place / "scratch/s").exists()
    assert not (place / "build").exists() and not (place / "src/__pycache__").exists()


def test_missing_python_is_said(place):
    environment = {"PATH": os.environ["PATH"]}
    done = subprocess.run(
        ["make", "test", "PYTHON=no-such-python"],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2 and "Install Python 3.11" in done.stderr


def test_continuous_integration_runs_the_same_commands():
    script = (CHECKOUT / ".ci/run").read_text()
    assert "\nmake test\n" in script and "\nmake lint\n" in script
    assert os.access(CHECKOUT / ".ci/run", os.X_OK)
