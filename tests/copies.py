"""Copies of the code in which a test may change anything and run a workflow."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

CHECKOUT = Path(__file__).parents[1]
PARTS = ("Snakefile", "rules", "profiles", "params.yaml", "src", ".gitignore")


def copy_code(target: Path) -> Path:
    """Copy the code of the workflow, without any result."""
    target.mkdir(parents=True)
    for part in PARTS:
        source = CHECKOUT / part
        if source.is_dir():
            shutil.copytree(source, target / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target / part)
    return target


def change(folder: Path, values: Mapping[str, Any]) -> None:
    """Set values of ``params.yaml`` by dotted path, below blocks that it may not have yet."""
    path = folder / "params.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    for place, value in values.items():
        *parents, key = place.split(".")
        inner = content
        for parent in parents:
            inner = inner.setdefault(parent, {})
        inner[key] = value
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def edit(path: Path, old: str, new: str) -> None:
    """Replace text that must be there."""
    text = path.read_text(encoding="utf-8")
    assert old in text, f"{path.name} does not hold {old!r}"
    path.write_text(text.replace(old, new), encoding="utf-8")


def append(path: Path, text: str) -> None:
    """Add lines at the end of a file that must be there."""
    assert path.is_file()
    with open(path, "a", encoding="utf-8") as stream:
        stream.write(f"\n\n{text}\n")


def call(folder: Path, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m module`` in a copy, without the path of the checkout."""
    assert CHECKOUT not in (folder, *folder.parents), "a test never runs a workflow in the checkout"
    environment = {name: v for name, v in os.environ.items() if name != "PYTHONPATH"}
    if module == "t3vae":
        environment["PYTHONPATH"] = str(folder / "src")
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def t3vae(*arguments: str, cwd: Path, path: str = "") -> subprocess.CompletedProcess[str]:
    """Run ``python -m t3vae`` of this checkout in a folder; ``path`` is searched as well."""
    searched = os.pathsep.join(filter(None, [str(CHECKOUT / "src"), path]))
    return subprocess.run(
        [sys.executable, "-m", "t3vae", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": searched, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def jobs(folder: Path, *arguments: str) -> set[str]:
    """Return the jobs that a dry run lists."""
    done = call(folder, "snakemake", "-n", *arguments)
    text = done.stdout + done.stderr
    assert done.returncode == 0, text
    found = set(re.findall(r"^Job \d+: (.*)(?<!up to date)$", text, flags=re.MULTILINE))
    assert found or "Nothing to be done" in text
    return found
