"""The digits, a share for each node, and the app with all the code it needs."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from deploy.drill.federation import REPOSITORY

TEST = 360


def write_shares(folder: Path, nodes: int, seed: int = 0) -> list[Path]:
    """Write ``test.npz``, and the training samples of each node; their files."""
    bunch = load_digits()
    order = np.random.default_rng(seed).permutation(len(bunch.target))
    x, y = (bunch.data / 16).astype(np.float32), bunch.target.astype(np.int64)
    np.savez(folder / "test.npz", x=x[order[:TEST]], y=y[order[:TEST]])
    paths = []
    for i, share in enumerate(np.array_split(order[TEST:], nodes)):
        paths.append(folder / f"digits-{i}.npz")
        np.savez(paths[-1], x=x[share], y=y[share])
    return paths


def write_app(folder: Path) -> Path:
    """Write the Flower App: the drill's own, with the library and the attackers beside it."""
    skip = shutil.ignore_patterns("__pycache__")
    app = folder / "app"
    shutil.copytree(Path(__file__).parent / "app", app, ignore=skip)
    for package in ("flwr_byzantine", "clients"):
        shutil.copytree(REPOSITORY / package, app / package, ignore=skip)
    return app
