"""Which code a job runs: the import closure of its stage and of what it names.

The closure covers the stage of the verb and the modules that the job's configuration
*names* (its own model family, network, data source, metrics or figure), without comments,
docstrings and type-checking imports. A registry (a table of module names) counts only with
the entry that the job uses, so a new entry changes no other job. Modules whose effect is
already in the resolved configuration (:data:`OUTSIDE`) do not count. Nothing is imported:
source files are read and parsed.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from importlib.machinery import PathFinder
from importlib.util import resolve_name
from pathlib import Path
from typing import Any, NamedTuple

from t3vae.errors import ConfigError
from t3vae.provenance import sources
from t3vae.provenance.sources import PACKAGE

__all__ = ["OUTSIDE", "Start", "code", "modules", "start"]

# Modules and rooms that cannot change a number: they declare, check, name or report.
OUTSIDE = (
    PACKAGE,
    f"{PACKAGE}.__main__",
    f"{PACKAGE}.cli",
    f"{PACKAGE}.errors",
    f"{PACKAGE}.provenance.closure",
    f"{PACKAGE}.provenance.digests",
    f"{PACKAGE}.provenance.sources",
    f"{PACKAGE}.runtime.device",
    f"{PACKAGE}.runtime.layout",
    f"{PACKAGE}.runtime.progress",
    f"{PACKAGE}.settings",
    f"{PACKAGE}.workflow",
)

# Text that is no code and yet part of a result.
RESOURCES = {f"{PACKAGE}.stages.report": ("report", "figures")}

# Where a configuration names code: the subpackage whose registry explains the name.
MODELS, NETWORKS, SOURCES = "models", "networks", "datasets"
METRICS, FIGURES, EXTRACTORS, STAGES = "metrics", "figures", "extractors", "stages"


# --- which modules a job names ------------------------------------------------------------


class Start(NamedTuple):
    """Where the closure of a job starts: modules, and the registry entries it uses."""

    modules: tuple[str, ...]
    entries: tuple[str, ...]


def start(verb: str, config: Mapping[str, Any], uses: Iterable[Mapping[str, Any]] = ()) -> Start:
    """Return where the code of a job starts.

    Args:
        verb: name of the stage.
        config: the resolved configuration of the job.
        uses: resolved configurations of earlier jobs whose code runs in this one.
    """
    found = [f"{PACKAGE}.stages.{verb}"]
    entries = []
    for subpackage, name in sorted(set(_names(verb, config, uses))):
        named, entry = _resolve(subpackage, name)
        found += named
        entries.append(entry)
    return Start(tuple(sorted(set(found))), tuple(entries))


def modules(start: Start) -> list[str]:
    """Return the names of all modules that a job runs, sorted."""
    return sorted(_closure(frozenset(start.modules)))


def code(start: Start) -> dict[str, Any]:
    """Return the code of a job: the digest of each module, and its registry entries.

    Raises:
        ConfigError: a source file has a syntax error, or a named module does not exist.
    """
    return {
        "entries": list(start.entries),
        "modules": {name: _source(name).code for name in modules(start)},
        "resources": dict(_resources(start)),
    }


def _resources(start: Start) -> Iterator[tuple[str, str]]:
    """Yield the templates and captions that the modules a job starts with are made of."""
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
        model, network = part.get("model"), part.get("network")
        if isinstance(model, Mapping) and verb in ("train", "sample", "evaluate"):
            yield MODELS, str(model["family"])
        if isinstance(network, Mapping) and verb in ("train", "sample", "evaluate"):
            yield NETWORKS, str(network["kind"])
        if isinstance(part.get("source"), str) and verb in ("prepare", "evaluate", "collect"):
            yield SOURCES, part["source"]
    if verb == "evaluate":
        for metric in config.get("metrics", ()):
            yield METRICS, str(metric)
        if "extractors" in config:  # only data sets of images have them
            yield STAGES, "evaluate_images"
            yield from ((EXTRACTORS, str(name)) for name in config["extractors"])
    if verb == "collect" and config.get("images"):
        yield STAGES, "collect_images"
    if verb == "figure" and "name" in config:
        yield FIGURES, str(config["name"])


@cache
def _resolve(subpackage: str, name: str) -> tuple[tuple[str, ...], str]:
    """Return the modules behind a registered name and the text of its registry entry.

    A name with a colon is an import path. A name that the registry does not explain
    brings in the whole subpackage: too much code in a digest costs time, too little lies.
    """
    if ":" in name:
        return (name.partition(":")[0],), name
    package = f"{PACKAGE}.{subpackage}"
    entry = _registry(package).get(name)
    if entry is not None:
        return (package, *_targets(entry)), f"{name}={ast.unparse(entry)}"
    every = [m for m in _package_modules() if m == package or m.startswith(package + ".")]
    return tuple(every), name


@cache
def _registry(package: str) -> dict[str, ast.expr]:
    """Return the entries of all registries in the ``__init__`` of a package."""
    entries: dict[str, ast.expr] = {}
    for statement in sources.parsed(_path(package)).body if _find(package) else ():
        table = sources.registry_table(statement)
        for key, item in zip(table.keys, table.values, strict=True) if table else ():
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                entries[key.value] = item
    return entries


def _targets(entry: ast.expr) -> list[str]:
    """Return the modules of this package that a registry entry names.

    They are written ``"package.module"`` or ``"package.module:attribute"``.
    """
    found = []
    for node in ast.walk(entry):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            module = node.value.partition(":")[0]
            if module.startswith(PACKAGE + ".") and _find(module) is not None:
                found.append(module)
    return found


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
def _source(name: str) -> sources.Source:
    return sources.read(_path(name))


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


def _package_modules() -> list[str]:
    folder = Path(__file__).parents[1]
    names = []
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        names.append(".".join([PACKAGE, *parts]))
    return names
