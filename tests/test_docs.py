"""The README and the pages it names: links, commands and code are as they say."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from t3vae.cli import cli
from t3vae.settings import parameters

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), target


def test_python_block_runs(tmp_path: Path) -> None:
    block = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert block is not None
    (tmp_path / "build").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", block[1] + "print(list(x_new.shape))"],
        cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
        env={"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1", "PATH": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[10000, 4]\n"


def test_the_page_of_the_python_api_runs(tmp_path: Path) -> None:
    page = (ROOT / "docs/python.md").read_text(encoding="utf-8")
    block = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    assert block is not None
    code = (
        block[1] + "\nassert len(x_new) == 1000 and len(per_point) == 10 and posterior.mean.shape"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
        env={"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1", "PATH": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"(?:^|`)make (\w+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_verbs_exist() -> None:
    for page in PAGES:
        for verb in re.findall(r"`t3vae (\w+)", page.read_text(encoding="utf-8")):
            assert verb in cli.commands, f"{page.name}: t3vae {verb}"


def test_names_in_commands_exist() -> None:
    loaded = parameters.load(ROOT / "params.yaml")
    for experiment, model, seed in re.findall(
        r"--experiment (\w+) --model (\w+) --seed (\d+)", README
    ):
        block = loaded.experiments[experiment]
        assert model in (block.models or [])
        assert int(seed) in (block.seeds or [])
    for suite in re.findall(r"suite=(\w+)", README):
        assert suite in loaded.suites


def test_continuous_integration_calls_the_readme_s_test_command() -> None:
    commands = (ROOT / ".ci/run").read_text(encoding="utf-8").splitlines()
    assert "make test" in [line.strip() for line in commands]


def test_version_is_said_once() -> None:
    import tomllib

    import t3vae

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == t3vae.__version__
    assert f"version: {t3vae.__version__}" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", ["README.md", "docs/scaling.md"])
def test_facts_of_the_code_are_those_of_the_code(page: str, monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    facts = importlib.import_module("facts")
    text = (ROOT / page).read_text(encoding="utf-8")
    assert "<!-- facts: suites -->" in text and text == facts.written(page), "run `make docs`"
