"""The digits, a share for each node, and the app with all the code it needs."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from clients.digits import share, splits
from deploy.drill.federation import REPOSITORY


def write_shares(folder: Path, nodes: int, seed: int = 0) -> list[Path]:
    """Write ``test.npz`` and the training samples of each node, and return the files of the nodes."""
    _, (x, y) = splits(seed)
    np.savez(folder / "test.npz", x=x, y=y)
    paths = []
    for i in range(nodes):
        x, y = share(i, nodes, seed)
        paths.append(folder / f"digits-{i}.npz")
        np.savez(paths[-1], x=x, y=y)
    return paths


def write_app(folder: Path) -> Path:
    """Write the drill's Flower App, with the clients beside it."""
    skip = shutil.ignore_patterns("__pycache__")
    app = folder / "app"
    shutil.copytree(Path(__file__).parent / "app", app, ignore=skip)
    shutil.copytree(REPOSITORY / "clients", app / "clients", ignore=skip)
    return app
