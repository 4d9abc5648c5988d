"""The Python in README.md and docs/ is run, block after block, as by a user who copies a page."""

import contextlib
import tempfile
from pathlib import Path
from typing import Any

from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser


def _enter(namespace: dict[str, Any]) -> None:
    """Give every page a folder of its own, with nothing in it but the examples."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        (Path(folder) / "examples").symlink_to(Path(__file__).parent / "examples")
        stack.enter_context(contextlib.chdir(folder))
        namespace["__folder"] = stack.pop_all()


def _leave(namespace: dict[str, Any]) -> None:
    namespace["__folder"].close()


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser()],
    patterns=["README.md", "docs/*.md", "docs/**/*.md"],
    setup=_enter,
    teardown=_leave,
).pytest()
