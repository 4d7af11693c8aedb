"""The house: imports go one way, modules are small, and starting is cheap."""

from __future__ import annotations

import ast
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

import t3vae

SOURCE = Path(t3vae.__file__).parent

# Rooms from the ground up. A module may import from its own room and from rooms that are
# listed in the room's entry. A name ending in ".*" is a subpackage with all its modules.
ROOMS: dict[str, tuple[set[str], set[str]]] = {
    "ground": ({"errors", "files", "seeding", "layout", "device", "progress"}, set()),
    "digests": ({"closure", "digests"}, {"ground"}),
    "settings": ({"settings.*"}, {"ground"}),
    "constants": ({"constants"}, {"ground"}),
    "mathematics": (
        {
            "distributions",
            "divergence",
            "hierarchical",
            "mixtures",
            "objectives",
            "tilted",
        },
        {"ground", "constants"},
    ),
    "networks": ({"networks.*"}, {"ground"}),
    "models": ({"models.*"}, {"ground", "constants", "mathematics", "networks"}),
    "training": (
        {"batches", "checkpoint", "optimizer", "resume", "sampling", "training"},
        {"ground", "digests", "constants", "mathematics", "networks", "models"},
    ),
    # Files that others made; read without executing anything.
    "published": ({"published.*"}, {"ground"}),
    # Data know nothing of models; metrics know neither models nor data.
    "data": ({"datasets.*"}, {"ground", "constants", "published"}),
    "prepared": ({"prepared", "runs"}, {"ground", "digests"}),
    "metrics": ({"metrics.*"}, {"ground"}),
    "extractors": ({"extractors.*"}, {"ground", "published"}),
    # Tables and arrays only.
    "tables": ({"tables.*"}, {"ground", "metrics"}),
    "figures": ({"figures.*"}, {"ground", "tables", "metrics"}),
    "report": ({"report.*"}, {"ground", "digests", "tables", "figures", "metrics"}),
    "stages": (
        {"stages.*"},
        {
            "ground",
            "digests",
            "models",
            "training",
            "data",
            "prepared",
            "metrics",
            "extractors",
            "tables",
            "figures",
            "report",
        },
    ),
    # May see everything.
    "roof": ({"__main__", "check", "cli", "disk", "plan", "verify"}, set()),
}
ROOMS["roof"] = (ROOMS["roof"][0], set(ROOMS))

NO_TORCH = {"ground", "digests", "settings", "constants", "published", "data", "metrics", "tables"}
NO_TORCH |= {"figures", "report", "prepared"}


def modules() -> dict[str, Path]:
    """Modules of the package by their name below it, the root itself left out."""
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name:
            found[name] = path
    return found


MODULES = modules()


def room_of(module: str) -> str:
    names = {module, module.split(".")[0] + ".*"}
    homes = [room for room, (members, _) in ROOMS.items() if members & names]
    assert len(homes) == 1, f"{module}: give it one room in {__file__}"
    return homes[0]


def imports(path: Path) -> set[str]:
    """Dotted names that a file imports at run time, at any depth of its code."""

    def visit(node: ast.AST):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for item in node.orelse:
                yield from visit(item)
            return
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        for item in ast.iter_child_nodes(node):
            yield from visit(item)

    return set(visit(ast.parse(path.read_text(encoding="utf-8"))))


def own(name: str) -> str | None:
    """The module of this package that an imported name means, below the package."""
    parts = name.split(".")
    if parts[0] != "t3vae":
        return None
    inner = ".".join(parts[1:])
    while inner and inner not in MODULES:
        inner = inner.rpartition(".")[0]
    return inner or None


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_one_way(module):
    room = room_of(module)
    allowed = ROOMS[room][1] | {room}
    for name in imports(MODULES[module]):
        target = own(name)
        if target is not None:
            assert room_of(target) in allowed, f"{module} ({room}) imports {target}"


def test_rooms_are_in_order():
    """No room reaches, over any way, back to itself."""
    seen: dict[str, set[str]] = {}

    def below(room: str) -> set[str]:
        if room not in seen:
            seen[room] = set()
            for other in ROOMS[room][1] - {room}:
                seen[room] |= {other} | below(other)
        return seen[room]

    for room in ROOMS:
        assert room not in below(room), room


@pytest.mark.parametrize("module", MODULES)
def test_only_models_and_mathematics_use_torch(module):
    heads = {name.split(".")[0] for name in imports(MODULES[module])}
    if module != "seeding" and room_of(module) in NO_TORCH:
        assert "torch" not in heads
    if room_of(module) not in ("tables", "figures", "report", "stages"):
        assert not heads & {"pandas", "matplotlib", "seaborn", "jinja2"}
    assert "pickle" not in heads


def test_nothing_is_unpickled():
    for path in MODULES.values():
        text = path.read_text(encoding="utf-8")
        assert "torch.load(" not in text and "allow_pickle=True" not in text, path


def test_modules_are_small():
    lengths = {
        name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in MODULES.items()
    }
    assert statistics.median(lengths.values()) < 200
    assert not {name for name, length in lengths.items() if length > 450}


def test_modules_say_what_they_are():
    for name, path in MODULES.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert ast.get_docstring(tree) or not tree.body, name


HEAVY = ("torch", "scipy", "pandas", "numpy", "matplotlib", "snakemake", "safetensors")


@pytest.mark.parametrize(
    "code",
    [
        "import t3vae",
        "import t3vae.cli",
        "import t3vae.cli as c\ntry: c.main(['--help'])\nexcept SystemExit: pass",
        "import t3vae.plan, t3vae.settings.parameters",
    ],
)
def test_start_is_light(code):
    script = f"import sys\n{code}\nprint('loaded', *sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.rpartition("loaded")[2].split())
    assert "t3vae" in loaded and not loaded & set(HEAVY)
