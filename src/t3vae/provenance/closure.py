"""Which code a job runs: the import closure of its stage and of what it names.

The closure covers the stage of the verb and the modules that the job's configuration
*names* (its own model family, network, data source, metrics or figure), without comments,
docstrings and type-checking imports. Of the catalogue only the code that the named entries
point to counts, so that a new entry, label or hue changes no other job. Modules whose effect
is already in the resolved configuration (:data:`OUTSIDE`) do not count. Nothing is imported:
source files are read and parsed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from importlib.machinery import PathFinder
from importlib.util import resolve_name
from pathlib import Path
from typing import Any, NamedTuple

from t3vae.errors import ConfigError
from t3vae.provenance import source_files
from t3vae.provenance.source_files import PACKAGE
from t3vae.settings.catalogue import is_import_path
from t3vae.settings.families import FAMILIES, NETWORKS
from t3vae.settings.figures import FIGURES
from t3vae.settings.metrics import EXTRACTORS, METRICS
from t3vae.settings.sources import SOURCES

__all__ = ["OUTSIDE", "Start", "code", "modules", "start"]

# Modules and rooms that cannot change a number: they declare, check, name or report.
OUTSIDE = (
    PACKAGE,
    *(f"{PACKAGE}.{name}" for name in ("__main__", "cli", "errors", "settings", "workflow")),
    *(f"{PACKAGE}.provenance.{name}" for name in ("closure", "digests", "source_files")),
    *(f"{PACKAGE}.runtime.{name}" for name in ("accelerator", "device", "layout", "progress")),
)

# Text that is no code and yet part of a result.
RESOURCES = {f"{PACKAGE}.stages.report": ("report",)}

# Where a configuration names code: the room, and the table of the catalogue that explains it.
CATALOGUE: dict[str, Mapping[str, Any]] = {
    "models": FAMILIES,
    "networks": NETWORKS,
    "datasets": SOURCES,
    "metrics": METRICS,
    "extractors": EXTRACTORS,
    "figures": FIGURES,
}


# --- which modules a job names ------------------------------------------------------------


class Start(NamedTuple):
    """Where the closure of a job starts: modules, and the catalogue entries it uses."""

    modules: tuple[str, ...]
    entries: tuple[str, ...]


def start(verb: str, config: Mapping[str, Any], uses: Iterable[Mapping[str, Any]] = ()) -> Start:
    """Return where the code of a job starts.

    Args:
        verb: name of the stage.
        config: the resolved configuration of the job.
        uses: resolved configurations of earlier jobs whose code runs in this one.
    """
    found = [f"{PACKAGE}.stages.{verb}", *_of_images(verb, config)]
    entries = []
    for room, name in sorted(set(_names(verb, config, uses))):
        named, entry = _resolve(room, name)
        found += named
        entries.append(entry)
    return Start(tuple(sorted(set(found))), tuple(entries))


def modules(start: Start) -> list[str]:
    """Return the names of all modules that a job runs, sorted."""
    return sorted(_closure(frozenset(start.modules)))


def code(start: Start) -> dict[str, Any]:
    """Return the code of a job: the digest of each module, and its catalogue entries.

    Raises:
        ConfigError: a source file has a syntax error, or a named module does not exist.
    """
    return {
        "entries": list(start.entries),
        "modules": {name: _source(name).code for name in modules(start)},
        "resources": dict(_resources(start)),
    }


def _resources(start: Start) -> Iterator[tuple[str, str]]:
    """Yield the templates that the modules a job starts with are made of."""
    folder = Path(__file__).parents[1]
    for subpackage in [part for name in start.modules for part in RESOURCES.get(name, ())]:
        for path in sorted((folder / subpackage).rglob("*")):
            if path.suffix in (".html", ".txt"):
                relative = path.relative_to(folder).as_posix()
                yield relative, path.read_text(encoding="utf-8")


def _names(
    verb: str, config: Mapping[str, Any], uses: Iterable[Mapping[str, Any]]
) -> Iterator[tuple[str, str]]:
    for part in (config, *uses):
        for room, block, key in (("models", "model", "family"), ("networks", "network", "kind")):
            found = part.get(block)
            if isinstance(found, Mapping) and verb in ("train", "sample", "evaluate"):
                yield room, str(found[key])
        if isinstance(part.get("source"), str) and verb in ("prepare", "evaluate", "collect"):
            yield "datasets", part["source"]
    if verb == "evaluate":
        yield from (("metrics", str(name)) for name in config.get("metrics", ()))
        yield from (("extractors", str(name)) for name in config.get("extractors", ()))
    if verb == "figure" and "name" in config:
        yield "figures", str(config["name"])


def _of_images(verb: str, config: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a step loads for images only."""
    if verb == "evaluate" and "extractors" in config:
        yield f"{PACKAGE}.stages.evaluate_images"
    if verb == "collect" and config.get("images"):
        yield f"{PACKAGE}.tables.image_tables"


def _resolve(room: str, name: str) -> tuple[tuple[str, ...], str]:
    """Return the modules behind a name of the catalogue, and the code that its entry names.

    Raises:
        ConfigError: the name is neither in the catalogue nor an import path.
    """
    if name not in CATALOGUE[room] and not is_import_path(name):
        raise ConfigError(f"{room}: {name!r} is not in the catalogue, and no import path.")
    code = CATALOGUE[room][name].code if name in CATALOGUE[room] else name
    return (f"{PACKAGE}.{room}", code.partition(":")[0]), f"{name}={code}"


# --- the import closure -------------------------------------------------------------------


@cache
def _closure(start: frozenset[str]) -> frozenset[str]:
    families = {name.partition(".")[0] for name in start} | {PACKAGE}
    seen: set[str] = set()
    waiting = list(start)
    while waiting:
        name = waiting.pop()
        if name in seen or _outside(name) or name.partition(".")[0] not in families:
            continue
        if _find(name) is None:
            if name in start and not name.startswith(PACKAGE + "."):
                raise ConfigError(
                    f"{name}: no such module on the Python path, so its code cannot be known. "
                    "Put its folder on PYTHONPATH or beside the Snakefile."
                )
            continue
        seen.add(name)
        waiting += _imports(name)
        if "." in name:
            waiting.append(name.rpartition(".")[0])
    return frozenset(seen)


@cache
def _outside(name: str) -> bool:
    return name in OUTSIDE or any(name.startswith(f"{room}.") for room in OUTSIDE[1:])


@cache
def _source(name: str) -> source_files.Source:
    return source_files.read(_path(name))


@cache
def _imports(name: str) -> tuple[str, ...]:
    """Return the modules that a module may import, at any depth of its code."""
    package = name if _path(name).name == "__init__.py" else name.rpartition(".")[0]
    found = []
    for imported in _source(name).imports:
        with suppress(ImportError):  # more dots than folders, which fails where it is run
            found.append(resolve_name(imported, package))
    return tuple(found)


# --- where modules lie --------------------------------------------------------------------


def _path(name: str) -> Path:
    path = _find(name)
    if path is None:
        raise ConfigError(f"{name}: no such module. Check the name, and PYTHONPATH.")
    return path


@cache
def _find(name: str) -> Path | None:
    """Return the source file of a module without importing it or its parents."""
    parts = name.split(".")
    if not all(part.isidentifier() for part in parts):
        return None
    if parts[0] == PACKAGE:
        base = Path(__file__).parents[1].joinpath(*parts[1:])
        candidates = (base / "__init__.py", base.with_suffix(".py"))
        return next((path for path in candidates if path.is_file()), None)
    search: Any = None
    origin = None
    for depth in range(1, len(parts) + 1):
        spec = PathFinder.find_spec(".".join(parts[:depth]), search)
        if spec is None:
            return None
        search, origin = spec.submodule_search_locations or [], spec.origin
    return Path(origin) if origin and origin.endswith(".py") else None
