"""The page itself: content into the template, one file without any request to the network."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from t3vae.provenance import digests
from t3vae.report.content import experiment
from t3vae.runtime import layout

__all__ = ["build"]


def build(root: Path, config: Mapping[str, Any]) -> str:
    """Return the HTML of the report of one suite.

    Args:
        root: folder of the contract paths.
        config: ``suite`` and ``experiments``: name to dataset, models, seeds, figures, metrics.

    Raises:
        DataError: a table or figure is missing.
    """
    experiments = [
        experiment(root, name, part, config["captions"])
        for name, part in config["experiments"].items()
    ]
    template = files("t3vae.report").joinpath("page.html").read_text("utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    made = digests.provenance("report", config, _inputs(root, config))
    return environment.from_string(template).render(
        suite=config["suite"],
        experiments=experiments,
        versions=_versions(experiments),
        provenance=digests.canonical_json(made),
    )


def _inputs(root: Path, config: Mapping[str, Any]) -> dict[str, str]:
    """Return the digest of every file that the page shows."""
    paths = []
    for name, part in config["experiments"].items():
        paths.append(layout.table(name, "provenance.json"))
        paths += [layout.figure(name, figure, "png") for figure in part["figures"]]
        if part.get("models"):
            tables = ("metrics", "paired", "missing", "runs", "latent_mismatch")
            paths += [layout.table(name, f"{table}.csv") for table in tables]
    return {path: digests.file_digest(layout.under(root, path)) for path in paths}


def _versions(experiments: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Return the different sets of versions that the runs were made with."""
    found: list[dict[str, str]] = []
    for part in experiments:
        for versions in part["versions"]:
            text = {str(name): str(value) for name, value in sorted(versions.items())}
            if text not in found:
                found.append(text)
    return found
