"""What one source file adds to a digest: the modules that it imports, and its code.

Comments, docstrings and imports for the type checker do not count. To parse a
file takes milliseconds, and a job asks about some forty files, a plan about all of them; so
the answer is kept beside Python's bytecode (in ``__pycache__``) under the checksum of the
file's bytes. A kept answer that is damaged, or of another version of this module or of
Python, is made anew. Nothing is imported or executed.
"""

from __future__ import annotations

import ast
import hashlib
import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from importlib.util import cache_from_source
from pathlib import Path
from typing import Any, NamedTuple

from t3vae.errors import ConfigError, DataError
from t3vae.runtime import files

__all__ = ["PACKAGE", "Source", "read"]

PACKAGE = "t3vae"


class Source(NamedTuple):
    """What counts of a source file.

    Attributes:
        code: digest of its code.
        imports: modules that it may import, at any depth of its code; relative ones with
            their dots, and names that may be attributes instead.
    """

    code: str
    imports: tuple[str, ...]


def read(path: Path) -> Source:
    """Return what counts of a source file.

    Raises:
        ConfigError: the file is not Python source.
    """
    content = path.read_bytes()
    key = hashlib.sha256(_version() + content).hexdigest()
    place = Path(cache_from_source(str(path))).with_suffix(".digest")
    found = _kept(place, key)
    if found is None:
        tree = _stripped(_tree(path, content))
        code = hashlib.sha256(ast.unparse(tree).encode()).hexdigest()
        found = Source(code, tuple(dict.fromkeys(_imports(tree))))
        _keep(place, key, found)
    return found


def _tree(path: Path, content: bytes) -> ast.Module:
    try:
        return ast.parse(content.decode("utf-8"))
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        place = f"{path}:{line}" if line else str(path)
        raise ConfigError(f"{place}: not Python source ({error}). Correct the file.") from error


# --- what is kept -------------------------------------------------------------------------


@cache
def _version() -> bytes:
    """Return the digest of what makes the answers: this module and Python."""
    return hashlib.sha256(Path(__file__).read_bytes() + sys.version.encode()).digest()


def _kept(place: Path, key: str) -> Source | None:
    """Return the answer that is kept for a file, or None where there is none to be trusted."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        kept = json.loads(place.read_bytes())
        found = Source(kept["code"], tuple(kept["imports"]))
        if kept["check"] == _check(key, found):
            return found
    return None


def _keep(place: Path, key: str, found: Source) -> None:
    with suppress(DataError):  # a folder that is not ours
        files.write_json(place, {**found._asdict(), "check": _check(key, found)})


def _check(key: str, found: Source) -> str:
    return hashlib.sha256(json.dumps([key, found]).encode()).hexdigest()


# --- what counts --------------------------------------------------------------------------


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            yield base
            yield from (f"{base}{'.' if node.module else ''}{alias.name}" for alias in node.names)


def _stripped(tree: ast.Module) -> ast.Module:
    """Return a module's syntax tree without what cannot change a number."""
    stripped: ast.Module = _Strip().visit(tree)
    return stripped


class _Strip(ast.NodeTransformer):
    """Removes strings that stand alone (docstrings) and imports for the type checker."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        for field in ("body", "orelse", "finalbody"):
            block = getattr(node, field, None)
            if isinstance(block, list):
                kept = [item for item in block if not isinstance(item, ast.Pass)]
                needed = field == "body" and not isinstance(node, ast.Module)
                setattr(node, field, kept or ([ast.Pass()] if needed else []))
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        alone = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return ast.Pass() if alone else self.generic_visit(node)

    def visit_If(self, node: ast.If) -> Any:
        names = {getattr(node.test, "id", None), getattr(node.test, "attr", None)}
        self.generic_visit(node)
        return (node.orelse or ast.Pass()) if "TYPE_CHECKING" in names else node
