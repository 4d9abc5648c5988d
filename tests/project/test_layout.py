"""The layout of the code: imports point one way, modules are short, and names say where things are."""

import ast
import graphlib
import re
from pathlib import Path

import pytest

REPOSITORY = next(p for p in Path(__file__).resolve().parents if (p / "pyproject.toml").exists())
PACKAGES = ("flwr_byzantine", "clients", "simulations")
LONGEST = 300  # lines
MOST = 16  # files and folders at the top of the library, without __init__.py

# What each room of the library may import. Each may also import itself and `checks`.
ROOMS = {
    "kernels": set(),
    "rules": {"kernels"},
    "attacks": {"kernels", "rules"},
    "audit": set(),
    "aggregation": {"audit", "kernels", "rules"},
    "reputation": {"aggregation", "kernels", "rules"},
    "resume": {"aggregation"},
    "strategies": {"aggregation", "audit", "reputation", "resume", "rules"},
    "clients": {"aggregation", "attacks"},
    "lab": {"aggregation", "attacks", "audit", "clients", "rules", "strategies"},
    "commands": {"audit", "kernels", "lab", "rules", "serverapp", "strategies"},
}


def modules():
    """Dotted name -> file, for every module."""
    found = {}
    for package in PACKAGES:
        for path in sorted((REPOSITORY / package).rglob("*.py")):
            name = ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


MODULES = modules()


def imports(name):
    """The modules that a module imports, anywhere in the file, also for types only and by string."""
    path = MODULES[name]
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")
                above = ".".join(above[: len(above) - node.level + 1])
                base = f"{above}.{base}".rstrip(".")
            yield from (
                f"{base}.{alias.name}" if f"{base}.{alias.name}" in MODULES else base
                for alias in node.names
            )
        elif isinstance(node, ast.Constant) and node.value in MODULES and node.value.count("."):
            yield node.value


GRAPH = {name: {to for to in imports(name) if to in MODULES and to != name} for name in MODULES}


def test_no_import_goes_in_a_circle():
    graphlib.TopologicalSorter(GRAPH).prepare()  # a CycleError names the circle


def test_an_import_circle_would_be_found():
    circle = GRAPH | {"flwr_byzantine.kernels.columns": {"flwr_byzantine.strategies.fit"}}
    with pytest.raises(graphlib.CycleError):
        graphlib.TopologicalSorter(circle).prepare()


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_import_only_what_lies_below(room):
    for name in MODULES:
        if name.startswith(f"flwr_byzantine.{room}."):
            below = {to.split(".")[1] for to in GRAPH[name] if to.count(".")}
            assert below <= {room, "checks"} | ROOMS[room], name
            assert all(to.startswith("flwr_byzantine") for to in GRAPH[name]), name


def test_every_room_is_listed():
    folders = {
        p.name for p in (REPOSITORY / "flwr_byzantine").iterdir() if (p / "__init__.py").exists()
    }
    assert folders == {*ROOMS}


def test_the_library_has_few_doors():
    top = REPOSITORY / "flwr_byzantine"
    assert len([p for p in top.iterdir() if p.name not in ("__init__.py", "__pycache__")]) <= MOST


@pytest.mark.parametrize("name", MODULES)
def test_no_module_is_too_long(name):
    assert len(MODULES[name].read_text().splitlines()) <= LONGEST


def test_no_function_is_called_nothing():
    for name, path in MODULES.items():
        assert not re.search(r"def _\(", path.read_text()), name
