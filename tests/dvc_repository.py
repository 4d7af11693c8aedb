"""Small repositories in which real git, dvc and snakemake run, apart from the user's settings."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from copies import CHECKOUT, change, copy_code

EXPERIMENT = "univariate_smoke"
LONGEST = 900.0  # seconds; only a command that waits for ever reaches it
PARTS = ("dvc.yaml", ".dvcignore", ".dvc/config", ".dvc/.gitignore", ".dvc/plots")
# Two models, one seed, one figure, three metrics; the suite `smoke` has no model.
SMALL: dict[str, Any] = {
    "suite": "demo",
    "suites.demo": [EXPERIMENT],
    "suites.smoke": ["constants"],
    f"experiments.{EXPERIMENT}.models": ["vae", "t3vae_nu9"],
    f"experiments.{EXPERIMENT}.seeds": [0],
    f"experiments.{EXPERIMENT}.figures": ["history"],
    f"experiments.{EXPERIMENT}.metrics": ["ks", "tail_mass_ratio", "log_likelihood"],
    "experiments.constants.figures": ["tau_alpha"],
    "models.t3vae_nu9.nu": 9.0,  # a key of the file, not of a grid alone: `-S` without `+`
}


def small_repository(target: Path, **values: Any) -> Path:
    """Make a Git repository of the code with a small suite; nothing has run in it."""
    copy_code(target)
    for part in PARTS:
        source, copy = CHECKOUT / part, target / part
        copy.parent.mkdir(exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, copy)
        else:
            shutil.copy(source, copy)
    change(target, SMALL | values)
    run(target, "git", "init", "--quiet", "--initial-branch=main")
    commit(target, "code")
    return target


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Return an environment without the user's settings; the folder's parent is the home."""
    assert CHECKOUT not in (folder, *folder.parents), "a test never runs a workflow in the checkout"
    home = folder.parent
    left_out = ("PYTHONPATH", "DVC_", "GIT_", "SNAKEMAKE_", "AWS_", "PYTHONDONTWRITEBYTECODE")
    kept = {name: v for name, v in os.environ.items() if not name.startswith(left_out)}
    person = {"NAME": "tester", "EMAIL": "tester@example.org"}
    return {
        **kept,
        **{f"GIT_{who}_{k}": v for who in ("AUTHOR", "COMMITTER") for k, v in person.items()},
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / ".cache"),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_SYSTEM": os.devnull,
        "DVC_GLOBAL_CONFIG_DIR": str(home / "dvc-global"),
        "DVC_SYSTEM_CONFIG_DIR": str(home / "dvc-system"),
        "DVC_SITE_CACHE_DIR": str(home / "dvc-site"),
        "DVC_NO_ANALYTICS": "1",
        "COLUMNS": "200",
        "OMP_NUM_THREADS": "1",
        "SNAKEMAKE_ARGS": "-j1",
        **more,
    }


def run(folder: Path, *command: str, status: int | None = 0, **more: str) -> str:
    """Run a command; return all that it prints, after a check of its exit status.

    A status of ``None`` stands for any but 0.
    """
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment(folder, **more),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        printed, _ = process.communicate(timeout=LONGEST)
    except BaseException as error:
        os.killpg(process.pid, signal.SIGKILL)  # with all that it has started
        printed, _ = process.communicate()
        error.add_note(f"{' '.join(command)} had printed:\n{printed}")
        raise
    good = process.returncode != 0 if status is None else process.returncode == status
    assert good, f"{' '.join(command)} ended with {process.returncode}:\n{printed}"
    return printed


def commit(folder: Path, message: str) -> None:
    """Commit everything that Git does not ignore."""
    run(folder, "git", "add", "--all")
    run(folder, "git", "commit", "--quiet", "--message", message)


def clone(origin: Path, target: Path) -> Path:
    """Clone a repository; what DVC keeps does not come with it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    run(origin, "git", "clone", "--quiet", str(origin), str(target))
    return target


def stages(text: str) -> list[str]:
    """Return the stages that DVC ran, in order, from what it printed."""
    return re.findall(r"^Running stage '(\w+)'", text, flags=re.MULTILINE)


def width(text: str) -> int:
    """Return the width of a printed table in columns."""
    lines = [line.rstrip() for line in text.splitlines()]
    assert any(lines), "nothing was printed"
    return max(map(len, lines))


def ran(text: str) -> list[str]:
    """Return the jobs that Snakemake ran or would run, sorted, from what it printed."""
    return sorted(re.findall(r"^Job \d+: (.*)(?<!up to date)$", text, flags=re.MULTILINE))


def nothing_to_do(folder: Path) -> bool:
    """Whether Snakemake and DVC both say that all is up to date."""
    made = run(folder, "snakemake", "-n")
    remembered = run(folder, "dvc", "status")
    assert ("Nothing to be done" in made) == (not ran(made)), made
    return "Nothing to be done" in made and "up to date" in remembered
