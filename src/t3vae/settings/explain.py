"""What an experiment resolves to, and where each value comes from."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from t3vae.errors import ConfigError
from t3vae.settings.config import BLOCKS
from t3vae.settings.expand import holds
from t3vae.settings.metrics import SHARED
from t3vae.settings.parameters import Loaded, line_of, load_with_places, was_given
from t3vae.settings.problems import Path_, dotted, leaves, nearest

__all__ = ["Value", "explain", "values"]


class Value(NamedTuple):
    """One value of an experiment, with where it comes from in words."""

    path: Path_
    source: str
    value: Any


def explain(path: Path | str, experiment: str, overrides: Mapping[str, Any] | None = None) -> str:
    """List what an experiment resolves to, a value a line: path, origin, value.

    Args:
        path: the file of parameters.
        experiment: a name in its ``experiments``.
        overrides: values of the command line.

    Raises:
        ConfigError: the file is wrong, or has no such experiment.
    """
    loaded = load_with_places(path, overrides)
    listed = [(dotted(v.path), v.source, _shown(v.value)) for v in values(loaded, experiment)]
    widths = [max(len(row[i]) for row in listed) for i in range(2)]
    lines = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c}" for a, b, c in listed]
    prefix = dotted(("experiments", experiment))
    return "\n".join([*lines, *(n for n in loaded.parameters.notes if n.startswith(prefix))])


def values(loaded: Loaded, experiment: str) -> Iterator[Value]:
    """Yield every value that an experiment, its blocks and its models resolve to."""
    params = loaded.parameters
    if experiment not in params.experiments:
        near = nearest(experiment, params.experiments)
        raise ConfigError(f"{experiment}: not an experiment of {loaded.file}. {near}")
    resolved = params.model_dump(mode="json")
    entry = resolved["experiments"][experiment]
    paths = [("experiments", experiment)]
    paths += [(section, entry[key]) for key, section in BLOCKS.items() if entry[key] is not None]
    if entry["dataset"] in resolved["extractors"]:
        paths.append(("extractors", entry["dataset"]))
    paths += [("models", model) for model in entry["models"] or ()]
    asked = {*SHARED, *(entry["metrics"] or ())}
    for section, name in paths:
        block = resolved[section][name]
        for place, value in leaves(block, (section, name)):
            if value is not None and (section != "evaluation" or place[2] in asked):
                yield Value(place, _source(place, loaded), value)


def _source(path: Path_, loaded: Loaded) -> str:
    """Say where a value comes from: the command line, a line of the file, or a default."""
    written = loaded.expansion.written(path)
    if path in loaded.defaults.rules or not holds(loaded.document.values, written):
        return loaded.defaults.rules.get(path, "default")
    source = f"{loaded.file}:{line_of(written, loaded.document.lines)}"
    if was_given(written, loaded.overridden):
        source = "command line"
    if "grid" in written[2:3]:
        return f"{source}, grid of {written[1]}"
    return source if written[:2] == path[:2] else f"{source}, like {written[1]}"


def _shown(value: Any) -> str:
    """Write a value as it can stand in the file."""
    if isinstance(value, list):
        return f"[{', '.join(map(_shown, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_shown(each)}' for key, each in value.items())}}}"
    text = value if isinstance(value, str) else json.dumps(value)
    return re.sub(r"^(-?\d+)e", r"\1.0e", text) if isinstance(value, float) else text
