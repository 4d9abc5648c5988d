"""Runs that are kept in a folder, so that none is run twice."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path

from flwr_byzantine.lab.cell import Federation, Run

Pair = tuple[str, str]  # names of rule and attack


class Runs:
    """Runs that are kept in a folder, under what they are the runs of."""

    def __init__(self, folder: Path, code: str, federation: Federation) -> None:
        self.folder = folder
        self.of = json.dumps([code, asdict(federation)], sort_keys=True, default=str)

    def _path(self, pair: Pair) -> Path:
        key = sha256(json.dumps([self.of, *pair]).encode()).hexdigest()[:16]
        return self.folder / f"{key}.json"

    def read(self, pair: Pair) -> Run | None:
        """The run of a pair, if it is there whole."""
        try:
            found = json.loads(self._path(pair).read_text())
            curves = {
                source: {int(r): metrics for r, metrics in curve.items()}
                for source, curve in found.pop("curves").items()
            }
            nodes = {int(node): metrics for node, metrics in found.pop("nodes").items()}
            return Run(**found, curves=curves, nodes=nodes)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def write(self, run: Run) -> None:
        """Keep a run; a reader sees all of it or nothing."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self._path((run.rule, run.attack))
        partial = path.with_suffix(f".{os.getpid()}.partial")  # another process may write it too
        partial.write_text(json.dumps(asdict(run)))
        os.replace(partial, path)
