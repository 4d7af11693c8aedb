"""The report: one self-contained HTML page from tables, figures and captions."""

from __future__ import annotations

from pathlib import Path

__all__ = ["resources"]


def resources() -> list[Path]:
    """Return the files of the package, other than code, that the page is made of.

    Example:
        >>> sorted({path.suffix for path in resources()})
        ['.html', '.txt']
    """
    package = Path(__file__).parent.parent
    captions = sorted((package / "figures" / "captions").glob("*.txt"))
    return [package / "report" / "page.html", *captions]
