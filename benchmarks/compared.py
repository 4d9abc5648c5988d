"""Times the rules alone, against other libraries that have the same rules."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from flwr.server.strategy import aggregate as flower

from benchmarks.measure import Call, time_in_turn
from benchmarks.peers import TAU, peer_calls
from flwr_byzantine import rules

Row = dict[str, Any]


def classic_rules(f: int) -> dict[str, rules.Rule]:
    """The rules that Flower has too."""
    return {
        "Mean": rules.Mean(),
        "Median": rules.Median(),
        "TrimmedMean": rules.TrimmedMean(f),
        "Krum": rules.Krum(f),
        "MultiKrum": rules.MultiKrum(f),
        "Bulyan": rules.Bulyan(f),
    }


def modern_rules(f: int) -> dict[str, rules.Rule]:
    """The newer rules, and pre-aggregations. Krum is told f - 1 behind `Bucketing`, which halves its rows."""
    nnm, arc = rules.NearestNeighborMixing(f), rules.AdaptiveClipping(f)
    trimmed, krum = rules.TrimmedMean(f), rules.Krum(f)
    return {
        "MeaMed": rules.MeaMed(f),
        "GeometricMedian": rules.GeometricMedian(iterations=3, smoothing=0.1),
        "Medoid": rules.Medoid(),
        "CenteredClipping": rules.CenteredClipping(TAU),
        "MinimumDiameterAveraging": rules.MinimumDiameterAveraging(f),
        "CovarianceFilter": rules.CovarianceFilter(f),
        "SmallestMaximumEigenvalue": rules.SmallestMaximumEigenvalue(f),
        "NearestNeighborMixing >> TrimmedMean": nnm >> trimmed,
        "NearestNeighborMixing >> Krum": nnm >> krum,
        "Bucketing >> Krum": rules.Bucketing(2) >> rules.Krum(max(0, f - 1)),
        "AdaptiveClipping >> TrimmedMean": arc >> trimmed,
        "Clipping >> TrimmedMean": rules.Clipping(TAU) >> trimmed,
    }


def compared(chosen: Mapping[str, rules.Rule], n: int, d: int, repeat: int) -> list[Row]:
    """Time rules on an (n, d) float32 array, against peers and Flower's own functions."""
    f = (n - 3) // 4
    updates = np.random.default_rng(0).standard_normal((n, d)).astype(np.float32)
    results: Any = [([row], 1) for row in updates]
    ours = {name: partial(rule, updates) for name, rule in chosen.items()}
    flowers: dict[str, Call] = {
        "Mean": lambda: flower.aggregate(results),
        "Median": lambda: flower.aggregate_median(results),
        "TrimmedMean": lambda: flower.aggregate_trimmed_avg(results, f / n),
        "Krum": lambda: flower.aggregate_krum(results, f, 0),
        "MultiKrum": lambda: flower.aggregate_krum(results, f, n - f - 2),
        "Bulyan": lambda: flower.aggregate_bulyan(
            list(results), f, flower.aggregate_krum, to_keep=0
        ),
    }
    rows = []
    for name, call in ours.items():
        calls: dict[str, Call] = {"ours": call}
        calls |= {"Flower": flowers[name]} if name in flowers else {}
        calls |= {
            library: peers[name]
            for library, peers in peer_calls(updates, f).items()
            if name in peers
        }
        timings = time_in_turn(calls, {}, repeat)
        for other in [key for key in calls if key != "ours"]:
            ratios = timings[other].ratios(timings["ours"])
            rows.append(
                {
                    "name": name,
                    "against": other,
                    "n": n,
                    "d": d,
                    "seconds": timings["ours"].median,
                    "seconds_other": timings[other].median,
                    "speedup": float(np.median(ratios)),
                    "speedup_min": min(ratios),
                    "speedup_max": max(ratios),
                }
            )
    return rows
