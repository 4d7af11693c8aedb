"""docs/contributing.md, followed step by step in a copy of the repository."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from copies import CHECKOUT, copy_code

PAGE = (CHECKOUT / "docs/contributing.md").read_text(encoding="utf-8")
STEP = re.compile(
    r"(?:Create `(?P<new>[^`]+)`"
    r"|Add to `(?P<file>[^`]+)` (?P<where>before|after) `(?P<line>[^`]+)`)"
    r":\n\n```\w+\n(?P<text>.*?)^```$|^```bash\n(?P<commands>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
SECTIONS = {part.split("\n", 1)[0]: part for part in re.split(r"^## ", PAGE, flags=re.M)[1:]}
MOST_FILES = {"A model family": 4, "A metric": 3, "A source of data": 3, "A figure": 3}


@pytest.mark.parametrize("section", MOST_FILES)
def test_a_thing_is_added_as_the_page_says(section: str, tmp_path: Path) -> None:
    folder = copy_code(tmp_path / "copy")
    (folder / "tests").mkdir()
    for path in (CHECKOUT / "tests").glob("*.py"):
        (folder / "tests" / path.name).write_bytes(path.read_bytes())
    touched, commands = set(), []
    for step in STEP.finditer(SECTIONS[section]):
        if step["commands"]:
            commands += step["commands"].splitlines()
            continue
        path = folder / (step["new"] or step["file"])
        touched.add(path)
        if step["new"]:
            assert not path.exists(), path
            path.write_text(step["text"], encoding="utf-8")
            continue
        old = path.read_text(encoding="utf-8")
        line = f"{step['line']}\n"
        assert f"\n{line}" in old, f"{path} has no line {line!r}"
        new = line + step["text"] if step["where"] == "after" else step["text"] + line
        path.write_text(old.replace(f"\n{line}", f"\n{new}", 1), encoding="utf-8")
    assert commands and len(touched) == MOST_FILES[section]
    for command in commands:
        done = run(command, folder)
        assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    bin_folder = Path(sys.executable).parent
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env={
            **os.environ,
            "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": f"{folder / 'src'}{os.pathsep}{folder / 'tests'}",
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
