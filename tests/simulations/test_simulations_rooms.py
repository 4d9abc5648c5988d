"""The rooms of `simulations`: imports point one way, modules are short, and streams have unique numbers."""

import ast
import re
from pathlib import Path

import pytest

from flwr_byzantine.attacks import schedule
from flwr_byzantine.clients import wrapper
from simulations.streams import Stream

REPOSITORY = next(p for p in Path(__file__).resolve().parents if (p / "pyproject.toml").is_file())
FOLDER = REPOSITORY / "simulations"
ORDER = (
    "environment",
    "streams",
    "numpy_model",
    "torch_model",
    "torch_client",
    "catalog",
    "config",
    "measure",
    "federation",
    "sweep",
    "report",
    "demo",
    "commands",
    "__main__",
)
MODULES = {
    ".".join(["simulations", *path.relative_to(FOLDER).with_suffix("").parts]): path
    for path in sorted(FOLDER.rglob("*.py"))
}


def imported(name):
    """Every module of `simulations` that a module imports, anywhere in its text."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {full if full in MODULES else node.module for full in inner}
    return {one for one in found if one in MODULES}


def room(name):
    return ORDER.index(name.split(".")[1])


@pytest.mark.parametrize("name", [name for name in MODULES if name != "simulations.__init__"])
def test_a_module_imports_from_its_own_room_and_lower_ones(name):
    assert [other for other in imported(name) if room(other) > room(name)] == []


def test_there_is_no_circle():
    left = {name: imported(name) for name in MODULES}
    while ready := {name for name, needs in left.items() if not needs & left.keys()}:
        left = {name: needs for name, needs in left.items() if name not in ready}
    assert left == {}


@pytest.mark.parametrize("name", MODULES)
def test_modules_are_short_and_hide_no_import(name):
    text = MODULES[name].read_text()
    assert len(text.splitlines()) <= 300
    assert not re.search(r"import_module|__import__|TYPE_CHECKING", text)


@pytest.mark.parametrize("name", MODULES)
def test_random_numbers_come_from_a_named_stream(name):
    if name != "simulations.streams":
        assert not re.search(r"default_rng|SeedSequence|RandomState", MODULES[name].read_text())


def test_the_clients_streams_are_those_of_the_registry():
    """The library must not import `simulations`, so it holds its own copies of these numbers."""
    assert (wrapper.ATTACK_STREAM, schedule.COIN_STREAM) == (Stream.ATTACK, Stream.COIN)


def test_no_number_of_a_stream_has_changed():
    """With another number, every seed would give another result."""
    assert {stream.name: int(stream) for stream in Stream} == {
        "SAMPLES": 0, "TRAINING": 1, "PARTITION": 2, "HELD_OUT": 3, "TRUE_GRADIENT": 4,
        "APART": 5, "WEIGHTS": 6, "ATTACK": 0xA77, "COIN": 0xC01, "BUCKETS": 0xB0C, "BYZANTINE": 0xD4A,
        "PARTICIPATION": 0x5A3, "BOOTSTRAP": 0xB007,
    }  # fmt: skip


def test_the_page_names_every_room_in_this_order():
    page = (FOLDER.parent / "docs" / "simulations.md").read_text().split("## Where things are")[1]
    rows = re.findall(r"(?m)^\| `(\w+)(?:/|\.py)`", page)
    assert rows == [name for name in ORDER if name in rows]
    assert set(ORDER) - set(rows) == {"environment", "__main__"}
