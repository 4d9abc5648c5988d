"""`pyproject.toml` declares everything that this repository imports. A dependency may drop its own."""

import ast
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

REPOSITORY = next(p for p in Path(__file__).resolve().parents if (p / "pyproject.toml").is_file())
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
DISTRIBUTIONS = {
    "griffe": "griffelib",
    "PIL": "pillow",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}
# Flower's server uses these. Code that mends or tests it needs the versions that Flower brings.
OF_FLOWER = {"cryptography", "fastapi", "httpx", "sqlalchemy"}


def imports(folder):
    """The packages that the files of a folder import, without Python's own modules."""
    files = list((REPOSITORY / folder).rglob("*.py"))
    found = set()
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                found.add(node.module.split(".")[0])
    return found - set(sys.stdlib_module_names)


def own():
    """The names of the modules and packages of this repository."""
    places = [
        path for path in REPOSITORY.iterdir() if path.is_dir() and not path.name.startswith(".")
    ]
    files = [path for place in places for path in place.rglob("*.py")]
    return {path.stem for path in files} | {path.parent.name for path in files}


def declared(*extras):
    """The names of all requirements and of those of the extras. An extra may consist of other extras."""
    found = set()
    for text in [*PROJECT["dependencies"], *(text for extra in extras for text in EXTRAS[extra])]:
        needed = Requirement(text)
        own_extra = needed.name == PROJECT["name"]
        found |= declared(*needed.extras) if own_extra else {needed.name.lower()}
    return found


@pytest.mark.parametrize(
    ("folder", "extras"),
    [
        ("flwr_byzantine", ["torch"]), ("clients", ["simulation"]), ("simulations", ["simulation"]),
        ("simulations/demo", ["demo"]),
        ("benchmarks", ["simulation"]), ("docs", ["docs"]), ("tests", ["simulation", "dev"]),
        ("examples", ["simulation"]), ("deploy", ["simulation"]),
    ],
)  # fmt: skip
def test_every_import_is_declared(folder, extras):
    found = {DISTRIBUTIONS.get(name, name) for name in imports(folder) - own()}
    brought = OF_FLOWER if folder in ("deploy", "tests") else set()
    assert found - declared(*extras) - brought == set()
