"""Reading and checking params.yaml; every problem is reported, each on one line.

The order: the file is parsed, overrides of the command line are merged, `like` and `grid` are
expanded, defaults are filled in, and everything is checked.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import ValidationError

from t3vae.errors import ConfigError
from t3vae.settings.checks import cross_check
from t3vae.settings.config import Parameters
from t3vae.settings.defaults import Defaults
from t3vae.settings.expand import Expansion
from t3vae.settings.imported import check_imported
from t3vae.settings.problems import Path_, Problem, dotted, shown, validation_problems
from t3vae.settings.yaml_reader import UNKNOWN, Document, Trap, read, scalar

__all__ = [
    "UNDER_DVC",
    "ConfigError",
    "Loaded",
    "Parameters",
    "describe",
    "json_schema",
    "line_of",
    "load",
    "load_with_places",
    "overrides",
    "was_given",
]

UNDER_DVC = "under_dvc"
"""Override that says a DVC stage runs the workflow; only `device` may go with it."""
DEVICE = "device"
"""Parameter that is no part of any configuration, so that it may be chosen anywhere."""

_MOST_PROBLEMS = 100


class Loaded(NamedTuple):
    """Checked parameters, and where each value comes from."""

    parameters: Parameters
    file: str
    document: Document
    overridden: set[Path_]
    expansion: Expansion
    defaults: Defaults


def load(path: Path | str, overrides: Mapping[str, Any] | None = None) -> Parameters:
    """Read a file of parameters, apply overrides and check everything.

    Args:
        path: the file, usually ``params.yaml``.
        overrides: values that replace those of the file, as ``snakemake --config`` gives
            them: nested mappings are merged, lists and values replaced, text that looks
            like a number is read as one.

    Raises:
        ConfigError: anything is wrong; ``problems`` holds one line per problem.

    Example:
        >>> load("params.yaml", {"suite": "smoke"}).suite  # doctest: +SKIP
        'smoke'
    """
    return load_with_places(path, overrides).parameters


def load_with_places(path: Path | str, overrides: Mapping[str, Any] | None = None) -> Loaded:
    """Do what :func:`load` does, and return also where each value comes from."""
    name = _display(path)
    document = read(Path(path), name)
    values = document.values
    if not isinstance(values, dict):
        raise ConfigError(f"{name}:1: must be a block of keys, such as `suite: demo`.")
    problems = [
        Problem(where, text, message, line) for where, line, text, message in document.problems
    ]
    overridden: set[Path_] = set()
    try:
        problems += _override(values, dict(overrides or {}), overridden)
    except RecursionError:
        raise ConfigError("--config: a block that holds itself. Write the values out.") from None
    expansion = Expansion(values)
    problems += expansion.problems
    values = expansion.values
    defaults = Defaults(values, expansion.written)
    problems += check_imported(values, Path(path).parent)
    params = None
    try:
        params = Parameters.model_validate(values)
    except ValidationError as error:
        problems += validation_problems(error, values, Parameters)
    problems += cross_check(values, defaults.rules)
    loaded = Loaded(params or UNKNOWN, name, document, overridden, expansion, defaults)
    if params is None or problems:
        raise ConfigError(_texts(problems, loaded))
    params._notes = tuple(defaults.notes)
    return loaded


def overrides(texts: Iterable[str]) -> dict[str, Any]:
    """Return the overrides that `KEY=VALUE` stand for, as ``snakemake --config`` reads them.

    Raises:
        ConfigError: a text is not of that form.

    Example:
        >>> overrides(["suite=paper", "models={t3vae_nu9: {nu: 8.0}}"])
        {'suite': 'paper', 'models': {'t3vae_nu9': {'nu': '8.0'}}}
    """
    found: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        try:
            found[key] = yaml.load(value, Loader=yaml.BaseLoader)
        except yaml.YAMLError:
            equals = ""
        if not equals:
            message = "must be KEY=VALUE, such as suite=paper or 'models={t3vae_nu9: {nu: 8.0}}'."
            raise ConfigError(f"--config: {shown(text)}: {message}")
    return found


def describe() -> str:
    """List every parameter with its meaning, range and default, one a line."""
    from t3vae.settings.reference_page import rows

    listed = [(row.key, row.allowed, row.default, row.description) for row in rows()]
    widths = [max(len(row[i]) for row in listed) for i in range(3)]
    return "\n".join(
        "  ".join([*(text.ljust(width) for text, width in zip(row, widths, strict=False)), row[3]])
        for row in listed
    )


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of params.yaml, for editors and other tools."""
    return Parameters.model_json_schema()


def _display(path: Path | str) -> str:
    """Name the file as the user would: relative to the working folder where it lies below."""
    try:
        relative = os.path.relpath(path)
    except ValueError:
        return str(path)
    return str(path) if relative.startswith("..") else relative


def _override(
    values: dict[str, Any], overrides: dict[str, Any], overridden: set[Path_]
) -> list[Problem]:
    """Merge overrides into the values; note the paths that they set."""
    under_dvc = overrides.pop(UNDER_DVC, False)
    if str(under_dvc).lower() in ("", "0", "false", "none"):
        _merge(values, overrides, (), overridden)
        return []
    if str(under_dvc).lower() not in ("1", "true"):
        overridden.add((UNDER_DVC,))
        return [Problem((UNDER_DVC,), shown(under_dvc), "must be 1 or 0. Try 1.")]
    if DEVICE in overrides:
        _merge(values, {DEVICE: overrides.pop(DEVICE)}, (), overridden)
    problems = []
    for key, value in overrides.items():
        overridden.add((str(key),))
        message = (
            "not allowed under DVC, because the results would be locked under the numbers of "
            f"params.yaml. Change params.yaml, or use `dvc exp run -S {key}=...`."
        )
        problems.append(Problem((str(key),), shown(value), message))
    return problems


def _merge(
    values: dict[str, Any], overrides: Mapping[Any, Any], path: Path_, overridden: set[Path_]
) -> None:
    for key, value in overrides.items():
        key = str(key)
        here = (*path, key)
        if isinstance(value, Mapping) and isinstance(values.get(key), dict):
            _merge(values[key], value, here, overridden)
        else:
            values[key] = _parsed(value)
            overridden.add(here)


def _parsed(value: Any) -> Any:
    """Read text from the command line as the number, list or block that it stands for."""
    if isinstance(value, str):
        result = scalar(value)
        if not isinstance(result, Trap):
            return result
        return value if result.value is UNKNOWN else result.value
    if isinstance(value, Mapping):
        return {str(key): _parsed(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_parsed(item) for item in value]
    return value


def _texts(problems: list[Problem], loaded: Loaded) -> list[str]:
    """Write the problems in the order of the file, those of the command line first.

    A mistake in a block that others are like is reported once, where it is written.
    """
    found: dict[tuple[Path_, str | None, str], tuple[int, str, str]] = {}
    told = {(problem.path, problem.message) for problem in problems}
    expansion, name = loaded.expansion, loaded.file
    for problem in problems:
        if any((path, problem.message) in told for path in expansion.taken_from(problem.path)):
            continue
        written, line = problem.path, problem.line
        if line is None:
            written = expansion.written(problem.path)
            given = was_given(written, loaded.overridden)
            line = 0 if given else line_of(written, loaded.document.lines)
        key = (written, problem.value, problem.message)
        where = written if expansion.made(problem.path) else problem.path
        found.setdefault(key, (line, *_text(problem, where, written)))
    texts = [
        f"{f'{name}:{line}' if line else '--config'}: {text}"
        for line, _, text in sorted(set(found.values()))
    ]
    if len(texts) > _MOST_PROBLEMS:
        texts[_MOST_PROBLEMS:] = [f"{name}: and {len(texts) - _MOST_PROBLEMS} more problems."]
    return texts


def was_given(path: Path_, overridden: set[Path_]) -> bool:
    """Say whether a value was set by an override."""
    return any(path[: len(prefix)] == prefix for prefix in overridden)


def line_of(path: Path_, lines: Mapping[Path_, int]) -> int:
    """Return the line of a value, or of the nearest block around it that has one."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


def _text(problem: Problem, path: Path_, written: Path_) -> tuple[str, str]:
    """Return place and text of a problem; a value taken from another block says from where."""
    taken = written[:2] != path[:2]
    where = dotted(path if taken else written)
    value = "" if problem.value is None else f" = {problem.value}"
    if not where:
        return where, f"{problem.value}: {problem.message}" if value else problem.message
    source = f" (from {dotted(written[:2])})" if taken else ""
    return where, f"{where}{value}{source}: {problem.message}"
