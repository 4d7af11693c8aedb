"""Figure: one image of one experiment, from its tables, as PDF and PNG."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from t3vae.errors import ConfigError, DataError
from t3vae.figures.style import Style, save
from t3vae.provenance import digests
from t3vae.runtime import layout
from t3vae.settings import catalogue
from t3vae.settings.figures import FIGURES
from t3vae.tables import reads
from t3vae.tables.csv_files import read_table

__all__ = ["run"]


def run(root: Path, config: Mapping[str, Any], experiment: str, name: str) -> None:
    """Draw one figure.

    Args:
        root: folder of the contract paths.
        config: resolved configuration: models, looks, style.
        experiment: name of the experiment.
        name: name of the figure.

    Raises:
        ConfigError: no such figure.
        DataError: a table is missing or damaged.
    """
    if name not in FIGURES:
        raise ConfigError(f"figure {name!r}: no such figure. Known figures: {', '.join(FIGURES)}.")
    paths = [layout.table(experiment, table) for table in reads(name)]
    tables = {Path(path).name: read_table(layout.under(root, path)) for path in paths}
    inputs = {path: digests.file_digest(layout.under(root, path)) for path in paths}
    style = Style.of(config)
    with style.applied():
        try:
            drawn = catalogue.load(FIGURES, name, "figure")(tables, style)
        except KeyError as error:
            raise DataError(
                f"{', '.join(paths)}: no column or row {error}: damaged, or of another version. "
                "Run `t3vae collect` again."
            ) from error
        save(
            drawn,
            {e: layout.under(root, layout.figure(experiment, name, e)) for e in ("pdf", "png")},
            digests.provenance("figure", config, inputs),
            style,
        )
