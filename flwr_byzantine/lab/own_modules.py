"""Modules that an app imports from its own folder, hidden from all other code in the process."""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.machinery import EXTENSION_SUFFIXES, SOURCE_SUFFIXES, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

# Flower loads these modules before an app, so it never takes an app's own files of these names.
SHARED = {"flwr", "flwr_byzantine", "numpy", "ray", "torch"}
INSTALLED = ("site-packages", "dist-packages")


class OwnModules:
    """Modules that an app imports from its folder, kept apart from those of other apps.

    While they are in use, Python finds them and the folder, as under ``flwr run``. Modules of other apps with
    the same names are hidden meanwhile. Afterwards everything is as before.

    Parameters
    ----------
    folder : str or Path
        The app's folder.
    roots : Sequence[str]
        The folders of its modules, in the order in which Python searches them.

    Notes
    -----
    Threads may use the same modules at once. A thread that needs the modules of another app waits.
    """

    def __init__(self, folder: str | Path, roots: Sequence[str]) -> None:
        self.folder = Path(folder)
        self.path = list(roots)
        self.halves: tuple[Any, ...] = ()
        self.names = _names(roots)
        self._modules: dict[str, ModuleType] = {}
        importlib.invalidate_caches()  # files may have changed without a visible change of their time

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Let Python find these modules, and the app's folder before all others."""
        use = _enter(self)
        try:
            yield
        finally:
            _leave(use)

    def has(self, name: str) -> bool:
        """Whether a module of that name would be the app's own."""
        return name.partition(".")[0] in self.names or name in self._modules

    def always(self, app: Any, again: Callable[[str], Any]) -> Any:
        """A half of the app that uses these modules whenever it is called.

        Parameters
        ----------
        app : ServerApp or ClientApp
            The half as it was loaded.
        again : Callable
            Loads the half from the folder in another process.
        """
        kind = getattr(
            type(app), "_plain", type(app)
        )  # an installed module gives the same object again

        def call(half: Any, *arguments: Any, **keywords: Any) -> Any:
            with self.in_use():
                return kind.__call__(half, *arguments, **keywords)

        own: dict[str, Any] = {"__call__": call, "__module__": kind.__module__, "_plain": kind}
        own["__reduce_ex__"] = lambda half, protocol: (again, (str(self.folder),))
        app.__class__ = type(kind.__name__, (kind,), own)
        return app

    def swap_in(self) -> _Outside:
        """Put the modules in place of others with the same names."""
        others = {name: sys.modules.pop(name) for name in list(sys.modules) if self.has(name)}
        outside = _Outside(others, set(sys.modules), list(sys.path), sys.dont_write_bytecode)
        sys.modules.update(self._modules)
        sys.path[:0] = self.path
        sys.dont_write_bytecode = True  # nothing is written into the folder
        return outside

    def swap_out(self, outside: _Outside) -> None:
        """Remove these modules, also those imported meanwhile, and put the other modules back."""
        sys.dont_write_bytecode = outside.dont_write_bytecode
        for name in list(sys.modules):
            new = name not in outside.names and self._is_here(sys.modules[name])
            if self.has(name) or new:
                self._modules[name] = sys.modules.pop(name)
        sys.modules.update(outside.modules)
        for entry in self.path:
            if entry in sys.path:
                sys.path.remove(entry)
        added = [e for e in sys.path if e not in outside.path and self.folder in Path(e).parents]
        self.path += added
        sys.path[:] = [entry for entry in sys.path if entry not in added]

    def _is_here(self, module: Any) -> bool:
        """Whether a module's file is in the app's folder, and not among packages installed there."""
        file = getattr(module, "__file__", None)
        name = str(getattr(module, "__name__", "")).partition(".")[0]
        if not isinstance(file, str) or name in SHARED:
            return False
        path = Path(file)
        return self.folder in path.parents and not any(part in INSTALLED for part in path.parts)


@dataclass
class _Outside:
    """The state of Python before an app's modules were put in."""

    modules: dict[str, ModuleType]
    names: set[str]
    path: list[str]
    dont_write_bytecode: bool


@dataclass
class _Use:
    """Modules in use, with the number of calls that use them and the thread that put them in."""

    own: OwnModules
    outside: _Outside
    thread: int
    calls: int = 0

    def serves(self, own: OwnModules) -> bool:
        """Whether these are the wanted modules, perhaps put in by another thread of the same app."""
        theirs = self.thread != threading.get_ident() and self.own.folder == own.folder
        return self.own is own or theirs


_changes = threading.Condition()
_uses: list[_Use] = []  # the last one is in place


def _enter(own: OwnModules) -> _Use:
    here = threading.get_ident()
    with _changes:
        while _uses and not _uses[-1].serves(own) and all(use.thread != here for use in _uses):
            _changes.wait()
        if not _uses or not _uses[-1].serves(own):
            _uses.append(_Use(own, own.swap_in(), here))
        _uses[-1].calls += 1
        return _uses[-1]


def _leave(use: _Use) -> None:
    with _changes:
        use.calls -= 1
        if not use.calls:
            _uses.remove(use)
            use.own.swap_out(use.outside)
            _changes.notify_all()


def _names(roots: Sequence[str]) -> set[str]:
    """Names of modules that Python finds in some folders, if it searches them first."""
    shared = SHARED | {*sys.builtin_module_names, "__main__"}
    shared |= sys.stdlib_module_names & sys.modules.keys()
    found = set()
    suffixes = (*SOURCE_SUFFIXES, *EXTENSION_SUFFIXES)
    for root in roots:
        for path in Path(root).iterdir() if Path(root).is_dir() else ():
            name = path.name.partition(".")[0]
            if not name.isidentifier() or name in shared or name in found:
                continue
            if path.is_dir() and path.name == name:
                spec = PathFinder.find_spec(name, [*roots, *sys.path])
                places = list(spec.submodule_search_locations or ()) if spec is not None else []
                if str(path) in places:
                    found.add(name)
            elif path.name.endswith(suffixes):
                found.add(name)
    return found
