"""The rules of the peers byzfl, byzpy and krum, as far as these are installed.

Their requirements would replace this project's versions of torch and numpy, so ``make bench``
installs them without dependencies into a folder of their own. All of them get torch tensors, with
which they are faster. Their settings ask for the same work as ours: the geometric median takes as
many steps, and a smoothing of 0.1. Two rules are left out, because they take too long to repeat:
byzfl's SMEA and krum's Brute took 14 and 62 seconds for 20 updates of 100,000 values, with f = 4, on
2 cores.
"""

import importlib
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.measure import Call

TAU = 100.0  # the threshold of centered clipping, and of clipping


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
        Number of Byzantine updates that the rules are told.
    """
    found = {"byzfl": _load("byzfl"), "byzpy": _load("byzpy"), "krum": _load("krum")}
    if not any(found.values()):
        return {}
    import torch

    matrix = torch.from_numpy(updates)
    calls = {"byzfl": _byzfl, "byzpy": _byzpy, "krum": _krum}
    return {name: calls[name](matrix, f) for name, module in found.items() if module is not None}


def _byzfl(matrix: Any, f: int) -> dict[str, Call]:
    byzfl = importlib.import_module("byzfl")
    return {
        "Mean": lambda: byzfl.Average()(matrix),
        "Median": lambda: byzfl.Median()(matrix),
        "TrimmedMean": lambda: byzfl.TrMean(f)(matrix),
        "MeaMed": lambda: byzfl.Meamed(f)(matrix),
        "Krum": lambda: byzfl.Krum(f)(matrix),
        "MultiKrum": lambda: byzfl.MultiKrum(f)(matrix),
        "GeometricMedian": lambda: byzfl.GeometricMedian(nu=0.1, T=3)(matrix),
        "CenteredClipping": lambda: byzfl.CenteredClipping(L=1, tau=TAU)(matrix),
        "MinimumDiameterAveraging": lambda: byzfl.MDA(f)(matrix),
        "CovarianceFilter": lambda: byzfl.CAF(f)(matrix),
        "NearestNeighborMixing >> TrimmedMean": lambda: byzfl.TrMean(f)(byzfl.NNM(f)(matrix)),
        "NearestNeighborMixing >> Krum": lambda: byzfl.Krum(f)(byzfl.NNM(f)(matrix)),
        "Bucketing >> Krum": lambda: byzfl.Krum(f - 1)(byzfl.Bucketing(2)(matrix)),
        "AdaptiveClipping >> TrimmedMean": lambda: byzfl.TrMean(f)(byzfl.ARC(f)(matrix)),
        "Clipping >> TrimmedMean": lambda: byzfl.TrMean(f)(byzfl.Clipping(TAU)(matrix)),
    }


def _byzpy(matrix: Any, f: int) -> dict[str, Call]:
    rows = list(matrix)

    def made(path: str, name: str, *arguments: Any, **settings: Any) -> Any:
        return getattr(importlib.import_module(f"byzpy.{path}"), name)(*arguments, **settings)

    def rule(path: str, name: str, *arguments: Any, before: Any = None, **settings: Any) -> Call:
        def call() -> Any:
            given = rows if before is None else made(*before).pre_aggregate(rows)
            return made(f"aggregators.{path}", name, *arguments, **settings).aggregate(given)

        return call

    rfa = {"tol": 1e-30, "max_iter": 3, "eps": 0.1, "init": "mean"}
    trimmed = ("coordinate_wise.trimmed_mean", "CoordinateWiseTrimmedMean", f)
    krum = ("geometric_wise.krum", "Krum", f)
    nnm = ("pre_aggregators.nnm", "NearestNeighborMixing", f)
    return {
        "Median": rule("coordinate_wise.median", "CoordinateWiseMedian"),
        "TrimmedMean": rule(*trimmed),
        "MeaMed": rule("coordinate_wise.mean_of_medians", "MeanOfMedians", f),
        "Krum": rule(*krum),
        "MultiKrum": rule("geometric_wise.krum", "MultiKrum", f, len(rows) - f - 2),
        "GeometricMedian": rule("geometric_wise.geometric_median", "GeometricMedian", **rfa),
        "CenteredClipping": rule(
            "norm_wise.center_clipping", "CenteredClipping", c_tau=TAU, M=1, init="zero"
        ),
        "MinimumDiameterAveraging": rule(
            "geometric_wise.minimum_diameter_average", "MinimumDiameterAveraging", f
        ),
        "CovarianceFilter": rule("norm_wise.caf", "CAF", f),
        "SmallestMaximumEigenvalue": rule("geometric_wise.smea", "SMEA", f),
        "NearestNeighborMixing >> TrimmedMean": rule(*trimmed, before=nnm),
        "NearestNeighborMixing >> Krum": rule(*krum, before=nnm),
        "Bucketing >> Krum": rule(
            *krum[:2], f - 1, before=("pre_aggregators.bucketing", "Bucketing", 2)
        ),
        "AdaptiveClipping >> TrimmedMean": rule(*trimmed, before=("pre_aggregators.arc", "ARC", f)),
        "Clipping >> TrimmedMean": rule(
            *trimmed, before=("pre_aggregators.clipping", "Clipping", TAU)
        ),
    }


def _krum(matrix: Any, f: int) -> dict[str, Call]:
    rows, n = list(matrix), len(matrix)

    def rule(module: str, name: str, **settings: Any) -> Call:
        kind = getattr(importlib.import_module(f"krum.primitives.aggregators.{module}"), name)
        return lambda: kind.aggregate(rows, n=n, f=f, **settings)

    return {
        "Mean": rule("average", "Average"),
        "Median": rule("median", "Median"),
        "TrimmedMean": rule("trimmed_mean", "TrimmedMean"),
        "Krum": rule("krum", "Krum"),
        "MultiKrum": rule("multikrum", "MultiKrum", m=n - f - 2),
        "Bulyan": rule("bulyan", "Bulyan"),
        "GeometricMedian": rule("geometric_median", "GeometricMedian", tol=0.0, max_iter=3),
        "Medoid": rule("medoid", "Medoid"),
    }
