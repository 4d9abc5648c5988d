"""Where an app's folder keeps the app's modules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

SOURCES = "src"


def roots_of(folder: Path, described: Mapping[str, Any]) -> list[str]:
    """The folders that Python imports an app's modules from: the app's folder, and some folders below it.

    ``flwr run`` uses the app's folder too. The folders below are those that the build of the app's package
    names, and ``src`` if a module is only there.

    Parameters
    ----------
    folder : Path
        The app's folder.
    described : Mapping[str, Any]
        Its ``pyproject.toml``.
    """
    below = [*_built_from(described.get("tool", {}))]
    components = described["tool"]["flwr"]["app"]["components"]
    for reference in (components["serverapp"], components["clientapp"]):
        top = str(reference).partition(":")[0].partition(".")[0]
        if not _is_in(folder, top) and _is_in(folder / SOURCES, top):
            below.append(SOURCES)
    roots = [folder, *(folder / place for place in below)]
    return list(dict.fromkeys(str(root) for root in roots if root.is_dir()))


def _is_in(folder: Path, name: str) -> bool:
    return bool(name) and ((folder / name).is_dir() or (folder / f"{name}.py").is_file())


def _built_from(tool: Any) -> Iterator[str]:
    """The folders from which Hatch, setuptools or Poetry takes packages."""
    for package in _at(tool, "hatch", "build", "targets", "wheel", "packages", otherwise=[]):
        yield str(PurePosixPath(str(package)).parent)
    sources = _at(tool, "hatch", "build", "targets", "wheel", "sources", otherwise=[])
    yield from map(str, sources)
    for place in _at(tool, "setuptools", "packages", "find", "where", otherwise=[]):
        yield str(place)
    yield str(_at(tool, "setuptools", "package-dir", otherwise={}).get("", "."))
    for package in _at(tool, "poetry", "packages", otherwise=[]):
        if isinstance(package, dict):
            yield str(package.get("from", "."))


def _at(tool: Any, *keys: str, otherwise: Any) -> Any:
    """The value below some keys, if it has the expected kind."""
    for key in keys:
        tool = tool.get(key) if isinstance(tool, dict) else None
    return tool if isinstance(tool, type(otherwise)) else otherwise
