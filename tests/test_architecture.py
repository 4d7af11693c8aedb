"""The house: imports go one way, modules are small, and starting is cheap."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import t3vae

SOURCE = Path(t3vae.__file__).parent

# Rooms from the ground up: a folder with all its modules, and the rooms that it may import from.
ROOMS: dict[str, set[str]] = {
    "errors": set(),
    "runtime": {"errors"},
    # What params.yaml may say, and the catalogue: a literal table of all that has a name.
    "settings": {"errors"},
    "provenance": {"errors", "runtime", "settings"},
    "maths": {"errors", "runtime"},
    "networks": {"errors", "settings"},
    "models": {"errors", "settings", "runtime", "maths", "networks"},
    "training": {"errors", "settings", "runtime", "provenance", "maths", "networks", "models"},
    # Files that others made; read without executing anything.
    "published": {"errors", "runtime"},
    # Data know nothing of models; metrics know neither models nor data.
    "datasets": {"errors", "settings", "runtime", "provenance", "maths", "published"},
    "metrics": {"errors", "settings", "runtime"},
    "extractors": {"errors", "settings", "runtime", "published"},
    # Tables and arrays only.
    "tables": {"errors", "settings", "runtime", "metrics"},
    "figures": {"errors", "runtime", "provenance", "tables", "metrics"},
    "report": {"errors", "runtime", "provenance", "tables", "figures", "metrics"},
    "stages": {
        *("errors", "runtime", "provenance", "maths", "models", "training", "datasets"),
        *("metrics", "extractors", "tables", "figures", "report", "settings"),
    },
    "workflow": {"errors", "runtime", "provenance", "settings", "datasets", "tables", "figures"},
}
ROOMS["cli"] = {*ROOMS}
ROOMS["__main__"] = {"cli"}

NO_TORCH = {
    *("errors", "runtime", "provenance", "settings", "published", "datasets", "metrics", "tables"),
    *("figures", "report", "workflow"),
}
MAY_TORCH = {
    *("runtime.accelerator", "runtime.seeding", "runtime.scratch", "published.torch_weights"),
}

# The two readers of pickles, and the only modules that call them: after a checksum.
PICKLES = {"published.pickles": "datasets.cifar", "published.torch_weights": "extractors.inception"}
UNPICKLERS = {"pickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}


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
    room = module.split(".")[0]
    assert room in ROOMS, f"{module}: no room of this name in {__file__}"
    return room


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
        if isinstance(node, ast.Call) and "import_module" in ast.unparse(node.func):
            # By a name that stands there; a registry is a table of names, not an import.
            yield from (a.value for a in node.args if isinstance(a, ast.Constant))
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
    allowed = ROOMS[room] | {room}
    for name in imports(MODULES[module]):
        target = own(name)
        if target is not None:
            assert room_of(target) in allowed, f"{module} ({room}) imports {target}"


def test_rooms_are_in_order():
    """Each room imports from rooms above it in the list, so that no way leads back."""
    for i, room in enumerate(ROOMS):
        assert ROOMS[room] <= {*list(ROOMS)[:i]}, room


def test_no_circle_of_modules():
    below = {name: {own(i) for i in imports(path)} - {None, name} for name, path in MODULES.items()}
    while leaves := [name for name, targets in below.items() if not targets & set(below)]:
        for name in leaves:
            del below[name]
    assert not below, f"modules that import each other: {sorted(below)}"


def test_the_root_is_empty():
    assert {name for name in MODULES if "." not in name and (SOURCE / f"{name}.py").is_file()} == {
        "__main__",
        "cli",
        "errors",
    }


@pytest.mark.parametrize("module", MODULES)
def test_only_models_and_mathematics_use_torch(module):
    heads = {name.split(".")[0] for name in imports(MODULES[module])}
    if room_of(module) in NO_TORCH and module not in MAY_TORCH:
        assert "torch" not in heads
    if room_of(module) not in ("tables", "figures", "report", "stages"):
        assert not heads & {"pandas", "matplotlib", "seaborn", "jinja2"}
    assert heads & UNPICKLERS == ({"pickle"} if module == "published.pickles" else set())


def nodes(module: str, kind: type) -> list:
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, kind)]


def test_nothing_is_unpickled():
    """But by two readers, which call nothing that a file names; their own tests show it."""
    for name, path in MODULES.items():
        text = path.read_text(encoding="utf-8")
        assert "allow_pickle=True" not in text, path
        assert "torch.load" not in imports(path), path
        if name != "published.torch_weights":
            assert not re.search(r"torch(\.serialization)?\.load\(", text), path
    calls = nodes("published.torch_weights", ast.Call)
    (load,) = [ast.unparse(call) for call in calls if ast.unparse(call.func).endswith("load")]
    assert load.startswith("torch.load(") and "weights_only=True" in load
    # Of the module pickle only the class is used, with an allow-list in the place of its imports.
    names = {ast.unparse(node) for node in nodes("published.pickles", ast.Attribute)}
    assert {name for name in names if name.startswith("pickle.")} == {"pickle.Unpickler"}
    (reader,) = [
        node for node in nodes("published.pickles", ast.ClassDef) if "Unpickler" in ast.dump(node)
    ]
    assert [item.name for item in reader.body] == ["find_class"]
    assert "super(" not in ast.unparse(reader)


@pytest.mark.parametrize("reader", PICKLES)
def test_pickles_are_read_after_a_checksum(reader):
    targets = {name: {own(i) for i in imports(path)} for name, path in MODULES.items()}
    assert [name for name in targets if reader in targets[name]] == [PICKLES[reader]]
    called = [ast.unparse(node.func) for node in nodes(PICKLES[reader], ast.Call)]
    check, read = {
        "published.pickles": ("locate", "read_pickle"),
        "published.torch_weights": ("verify", "read_weights"),
    }[reader]
    assert called.count(check) == called.count(read) == 1
    text = MODULES[PICKLES[reader]].read_text(encoding="utf-8")
    assert text.index(f" {check}(") < text.index(f"{read}(")


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
        "import t3vae.workflow.plan, t3vae.settings.parameters",
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
