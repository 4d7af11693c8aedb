"""Reading and writing tables: CSV text with fixed digits and a stable order of rows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from t3vae.errors import DataError
from t3vae.runtime.files import cannot_read, write_text

__all__ = ["DIGITS", "frame", "read_table", "rounded_edges", "significant", "write_table"]

#: Significant digits of a curve; what a figure cannot show is not worth its place in Git.
DIGITS = 6


def significant(value: float, digits: int = DIGITS) -> float:
    """Round to a number of significant digits.

    Example:
        >>> significant(0.00123456789)
        0.00123457
    """
    return float(f"{value:.{digits}g}") if math.isfinite(value) else value


def rounded_edges(edges: NDArray[np.float64], digits: int = DIGITS) -> NDArray[np.float64]:
    """Round the ends of bins to significant digits, but not where bins would vanish.

    Args:
        edges: ascending, [bins + 1].
        digits: of each.

    Example:
        >>> rounded_edges(np.array([0.1234567, 0.2])).tolist()
        [0.123457, 0.2]
        >>> rounded_edges(np.array([1e6, 1e6 + 0.25])).tolist()
        [1000000.0, 1000000.25]
    """
    rounded = np.array([significant(float(edge), digits) for edge in edges])
    return rounded if (np.diff(rounded) > 0.5 * np.diff(edges)).all() else edges


def frame(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> pd.DataFrame:
    """Return rows as a table with exactly these columns; what a row lacks is left empty.

    Example:
        >>> list(frame([{"a": 1, "b": None}], ["a", "b"]).columns)
        ['a', 'b']
    """
    records = [{name: row.get(name) for name in columns} for row in rows]
    return pd.DataFrame(records, columns=list(columns))


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as CSV: ``%.10g`` for floats, line ends of Unix, no index.

    Raises:
        DataError: a value is infinite; a missing value is an empty field instead.
    """
    for name in table.columns:
        column = table[name]
        if column.dtype.kind == "f" and column.map(math.isinf).any():
            raise DataError(f"{path}: column {name!r} holds an infinite value; nothing written")
    write_text(path, table.to_csv(index=False, float_format="%.10g", lineterminator="\n"))


def read_table(path: Path) -> pd.DataFrame:
    """Read a table as it was written: an empty field is missing, text stays text.

    Raises:
        DataError: the file is missing or is not a table.
    """
    try:
        return pd.read_csv(path, keep_default_na=False, na_values=[""])
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such table. Run `t3vae collect` first.") from error
    except OSError as error:
        raise DataError(cannot_read(path, error)) from error
    except ValueError as error:
        raise DataError(
            f"{path}: not readable as a table ({error}). Delete it to remake it."
        ) from error
