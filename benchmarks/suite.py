"""CPU seconds of a whole suite, of one checkout beside another, and whether results agree.

``python -m benchmarks.suite build/suite . ../before --config suite=demo`` runs the suite of both
checkouts at the same time, one job of each at a time, so that what else the machine does slows
both alike. Seconds are user and system time of Snakemake and of all its jobs. A folder that was
used before is gone on with, and the seconds are then those of what was left to do.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

from safetensors.numpy import load_file

Result = dict[str, str]


def main() -> None:
    """Run the suite of all checkouts and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.suite", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the results go, a folder a checkout")
    parser.add_argument("checkouts", type=Path, nargs="+")
    parser.add_argument("--config", nargs="+", default=[], help="as of snakemake")
    arguments = parser.parse_args()
    started = [
        (checkout, folder := arguments.folder.resolve() / str(i), _start(checkout, folder, given))
        for given in [["--config", *arguments.config] if arguments.config else []]
        for i, checkout in enumerate(arguments.checkouts)
    ]
    print(
        "| checkout | CPU s | of the first | results like the first's |\n| --- | --- | --- | --- |"
    )
    first: tuple[float, Result] | None = None
    for checkout, folder, process in started:
        _, status, used = os.wait4(process.pid, 0)
        if status:
            sys.exit(f"{checkout}: failed; see {folder}.log")
        seconds, found = used.ru_utime + used.ru_stime, results(folder)
        first = first or (seconds, found)
        equal = sum(first[1].get(name) == value for name, value in found.items())
        share = f"{seconds / first[0]:.0%}"
        print(f"| {checkout} | {seconds:.0f} | {share} | {equal} of {len(found)} |", flush=True)


def _start(checkout: Path, folder: Path, given: list[str]) -> subprocess.Popen[bytes]:
    folder.mkdir(parents=True, exist_ok=True)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, "-m", "snakemake", "-j1", "--directory", str(folder), *given]
    with open(folder.with_suffix(".log"), "wb") as log:
        return subprocess.Popen(command, cwd=checkout, env=environment, stdout=log, stderr=log)


def results(folder: Path) -> Result:
    """Return a digest of the weights, samples and numbers of every run, names left out."""
    found = {}
    for path in sorted((folder / "results").glob("**/seed*/model.safetensors")):
        history = (path.parent / "history.csv").read_bytes()
        found[str(path.relative_to(folder))] = _digest([*_arrays(path), history])
    for path in sorted((folder / "results/samples").glob("**/*.safetensors")):
        found[str(path.relative_to(folder))] = _digest(_arrays(path))
    for path in sorted((folder / "results/metrics").glob("**/*.json")):
        entries = json.loads(path.read_text(encoding="utf-8"))["metrics"]
        keys = ("name", "group", "value", "p_value")
        numbers = sorted(json.dumps([entry.get(key) for key in keys]).encode() for entry in entries)
        found[str(path.relative_to(folder))] = _digest(numbers)
    return found


def _arrays(path: Path) -> list[bytes]:
    return sorted(hashlib.sha256(array.tobytes()).digest() for array in load_file(path).values())


def _digest(parts: list[bytes]) -> str:
    return hashlib.sha256(b"\n".join(parts)).hexdigest()


if __name__ == "__main__":
    main()
