"""CPU seconds of two functions, in turn, and the ratio of their medians."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Row", "compare", "process", "table"]


@dataclass(frozen=True)
class Row:
    """One line of the table: seconds of this package and, if measured, of the reference."""

    work: str
    ours: list[float]
    reference: list[float] | None = None
    note: str = ""

    def cells(self) -> list[str]:
        """Return the cells as text."""
        ours = statistics.median(self.ours)
        spread = f"{min(self.ours):.3g} to {max(self.ours):.3g}"
        if not self.reference:
            return [self.work, "-", f"{ours:.3g}", "-", spread, self.note]
        theirs = statistics.median(self.reference)
        ratio = f"{theirs / ours:.1f}x"
        return [self.work, f"{theirs:.3g}", f"{ours:.3g}", ratio, spread, self.note]


def compare(
    work: str,
    ours: Callable[[], object],
    reference: Callable[[], object] | None = None,
    *,
    repeats: int = 5,
    note: str = "",
) -> Row:
    """Run both in turn, after one run of each that is not counted."""
    pairs: tuple[list[float], list[float]] = ([], [])
    for repeat in range(repeats + 1):
        for seconds, function in zip(pairs, (ours, reference), strict=True):
            if function is not None:
                started = time.process_time()
                function()
                if repeat:
                    seconds.append(time.process_time() - started)
    return Row(work, pairs[0], pairs[1] or None, note)


def process(work: str, command: list[str], *, repeats: int = 5, note: str = "") -> Row:
    """Wall seconds of a command as a whole process."""
    seconds = []
    for repeat in range(repeats + 1):
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        if repeat:
            seconds.append(time.perf_counter() - started)
    return Row(work, seconds, note=note)


def table(rows: list[Row]) -> str:
    """Return a Markdown table."""
    head = ["work", "reference s", "t3vae s", "ratio", "range of t3vae", "note"]
    lines = [head, ["---"] * len(head), *[row.cells() for row in rows]]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
