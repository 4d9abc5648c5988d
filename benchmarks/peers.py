"""The rules of byzfl and byzpy, where they are installed.

Their requirements would replace this project's versions of torch and numpy, so ``make bench`` installs
them without dependencies into a folder of their own. Both get torch tensors, their faster path.
"""

import importlib
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.measure import Call


def _load(name: str) -> Any | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module(name)
        except ImportError:
            return None


def peer_calls(updates: npt.NDArray[np.float32], f: int) -> dict[str, dict[str, Call]]:
    """Library -> rule -> call on the updates.

    Parameters
    ----------
    updates : np.ndarray
        Shape (n, d).
    f : int
        Number of Byzantine updates the rules are told.
    """
    calls: dict[str, dict[str, Call]] = {}
    byzfl, byzpy = _load("byzfl"), _load("byzpy.aggregators.geometric_wise.krum")
    if byzfl is None and byzpy is None:
        return calls
    import torch

    matrix = torch.from_numpy(updates)
    rows = list(matrix)
    if byzfl is not None:
        calls["byzfl"] = {
            "Mean": lambda: byzfl.Average()(matrix),
            "Median": lambda: byzfl.Median()(matrix),
            "TrimmedMean": lambda: byzfl.TrMean(f)(matrix),
            "Krum": lambda: byzfl.Krum(f)(matrix),
            "MultiKrum": lambda: byzfl.MultiKrum(f)(matrix),
        }
    if byzpy is not None:
        median = importlib.import_module("byzpy.aggregators.coordinate_wise.median")
        trimmed = importlib.import_module("byzpy.aggregators.coordinate_wise.trimmed_mean")
        calls["byzpy"] = {
            "Median": lambda: median.CoordinateWiseMedian().aggregate(rows),
            "TrimmedMean": lambda: trimmed.CoordinateWiseTrimmedMean(f).aggregate(rows),
            "Krum": lambda: byzpy.Krum(f).aggregate(rows),
            "MultiKrum": lambda: byzpy.MultiKrum(f, len(rows) - f - 2).aggregate(rows),
        }
    return calls
