"""Old names of moved modules. Importing one gives the module under its new name, and a warning.

The old names work until version 1. ``docs/migration.md`` lists them.
"""

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

MOVED = {
    "apply": "aggregation.apply",
    "auxiliary": "reputation.auxiliary",
    "buffers": "aggregation.buffers",
    "bygars": "reputation.bygars",
    "checkpoint": "resume.checkpoint",
    "cli": "commands.cli",
    "doctor": "commands.doctor",
    "fit_api": "strategies.fit",
    "memory": "reputation.scores",
    "message_api": "strategies.message",
    "metrics": "aggregation.reports",
    "outcome": "aggregation.outcome",
    "payload": "aggregation.npy",
    "pseudogradients": "reputation.rows",
    "reputed": "strategies.bygars",
    "robust": "strategies.base",
    "rules.trimmed": "rules.coordinatewise",
    "schedules": "reputation.schedules",
    "shares": "aggregation.kept_shares",
    "snapshot": "resume.snapshot",
    "strategy": "strategies.fit_strategies",
    "updates": "aggregation.gate",
}


class _Finder(MetaPathFinder, Loader):
    """Finds a moved module by its old name."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """A spec that loads the module under its new name; None for names that did not move."""
        package, _, name = fullname.partition(".")
        if package != __package__ or name not in MOVED:
            return None
        return ModuleSpec(fullname, self)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The module itself, so that its classes are the same under both names."""
        new = f"{__package__}.{MOVED[spec.name.partition('.')[2]]}"
        text = f"`{spec.name}` is `{new}` now. The old name works until version 1."
        warnings.warn(text, DeprecationWarning, stacklevel=2)  # where the old name is imported
        module = import_module(new)
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing, because the module has run already. It keeps its own attributes."""
        assert module.__spec__ is not None
        module.__spec__ = module.__spec__.loader_state


def install() -> None:
    """Let the import system find old names, before files that an older version may have left."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
