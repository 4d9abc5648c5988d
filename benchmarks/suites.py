"""The suites of measurements. Each returns the rows of its table, which ``bench.json`` holds too."""

import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from flwr.common import Parameters
from flwr.server.strategy import FedAvg

import flwr_byzantine as fb
from benchmarks.compared import Row, classic_rules, compared, modern_rules
from benchmarks.measure import Call, Timing, peak_bytes, time_in_turn
from benchmarks.peers import TAU
from benchmarks.replies import Results, client_replies
from benchmarks.rounds import rounds
from flwr_byzantine import rules
from flwr_byzantine.aggregation.gate import Model
from flwr_byzantine.kernels import Columns, combine
from flwr_byzantine.kernels.threads import spread
from flwr_byzantine.rules.points import Points
from flwr_byzantine.strategies.fit_strategies import RobustFedAvg, read_parameters

LIMITS = {  # of time / FedAvg's time, and of extra peak memory / bytes of all replies
    "Median": (0.35, 0.15),
    "TrimmedMean": (0.35, 0.15),
    "Phocas": (0.35, 0.15),
    "Krum": (0.5, 0.15),
    "MultiKrum": (0.5, 0.15),
    "Bulyan": (0.6, 0.2),
    "MultiBulyan": (0.9, 0.2),
    "ByGARSPlusPlus": (0.5, 0.2),
}

READINGS = {  # limits of the kernels' time / the time to read all replies once, at n = 20
    "Mean": 1.15,
    "Median": 2.0,
    "TrimmedMean": 2.0,
    "Phocas": 2.6,
    "Krum": 2.7,
    "MultiKrum": 3.3,
    "Bulyan": 4.2,
    "MultiBulyan": 5.6,
}


def robust_strategies(n: int, model: Model) -> dict[str, RobustFedAvg]:
    """The strategies, told to survive f of n >= 4f + 3 clients.

    The auxiliary gradient of ByGARS++ and FLTrust is the model itself, which takes no time to make. So
    the suite measures the aggregation, not the user's gradient. ByGARS++ has the paper's form. The
    normalised form reads the clients' values just as often. SmallestMaximumEigenvalue is left out,
    because it accepts only few clients.
    """
    f = (n - 3) // 4
    malicious: Mapping[str, Any] = {"num_malicious_clients": f}
    nnm, arc = rules.NearestNeighborMixing(f), rules.AdaptiveClipping(f)
    return {
        "Mean": fb.Mean(),
        "Median": fb.Median(),
        "TrimmedMean": fb.TrimmedMean(**malicious),
        "Phocas": fb.Phocas(**malicious),
        "Krum": fb.Krum(**malicious),
        "MultiKrum": fb.MultiKrum(**malicious),
        "Bulyan": fb.Bulyan(**malicious),
        "MultiBulyan": fb.MultiBulyan(**malicious),
        "MeaMed": fb.MeaMed(**malicious),
        "Medoid": fb.Medoid(),
        "GeometricMedian": fb.GeometricMedian(**malicious),
        "MinimumDiameterAveraging": fb.MinimumDiameterAveraging(**malicious),
        "CovarianceFilter": fb.CovarianceFilter(**malicious),
        "DivideAndConquer": fb.DivideAndConquer(**malicious),
        "CenteredClipping": fb.CenteredClipping(threshold=TAU),
        "NearestNeighborMixing >> Phocas": fb.Phocas(**malicious, pre_aggregation=nnm),
        "NearestNeighborMixing >> Krum": fb.Krum(**malicious, pre_aggregation=nnm),
        "AdaptiveClipping >> Phocas": fb.Phocas(**malicious, pre_aggregation=arc),
        "FLTrust": fb.FLTrust(auxiliary=lambda parameters, server_round: list(model.arrays)),
        "ByGARSPlusPlus": fb.ByGARSPlusPlus(
            auxiliary=lambda parameters, server_round: list(model.arrays),
            initial_reputation=1 / n,
            normalize=False,
        ),
    }


def _aggregate(strategy: FedAvg, results: Results) -> Call:
    return lambda: strategy.aggregate_fit(2, results, [])


def reading(arrays: Iterable[npt.NDArray[Any]]) -> Call:
    """Read arrays once, with all threads. No aggregation can be faster than that."""
    parts = [part for a in arrays for part in np.array_split(a, max(1, a.nbytes >> 20))]

    def read(lo: int, hi: int) -> None:
        for part in parts[lo:hi]:
            np.bitwise_or.reduce(part)

    return lambda: spread(read, [*range(0, len(parts), 8), len(parts)])


def _payload(results: Results) -> list[npt.NDArray[np.int64]]:
    """The bytes of all replies."""
    tensors = [tensor for _, fit in results for tensor in fit.parameters.tensors]
    return [np.frombuffer(tensor, np.int64, len(tensor) // 8) for tensor in tensors]


def _prepared(n: int, d: int) -> tuple[Results, dict[str, Call], dict[str, Call]]:
    """Replies, each strategy's call of ``aggregate_fit`` on them, and what waits for its background work.

    The strategies know the global model, which is the first client's.
    """
    results = client_replies(n, d)
    model = read_parameters(Parameters(list(results[0][1].parameters.tensors), "numpy.ndarray"))
    calls = {"reading": reading(_payload(results)), "FedAvg": _aggregate(FedAvg(), results)}
    robust = robust_strategies(n, model)
    for name, strategy in robust.items():
        strategy.aggregator.model = model
        calls[name] = _aggregate(strategy, results)
    learning = robust["ByGARSPlusPlus"]
    return results, calls, {"ByGARSPlusPlus": lambda: learning.reputations}  # type: ignore[attr-defined]


def strategies(n: int, d: int, repeat: int) -> list[Row]:
    """Measure time and peak memory of ``aggregate_fit``, against Flower's FedAvg on the same replies."""
    results, calls, settle = _prepared(n, d)
    payload = sum(len(tensor) for _, fit in results for tensor in fit.parameters.tensors)
    timings = time_in_turn(calls, settle, repeat)
    rows = []
    for name, call in calls.items():
        row = _ratio_row(name, timings[name], timings["FedAvg"]) | {"n": n, "d": d}
        readings = timings[name].ratios(timings["reading"])
        row |= {"readings": float(np.median(readings)), "readings_min": min(readings)}
        row |= {"readings_max": max(readings)}
        peak = peak_bytes(call)
        settle.get(name, lambda: None)()
        row["memory"] = None if peak is None else peak / payload
        row["limit_time"], row["limit_memory"] = LIMITS.get(name, (None, None))
        rows.append(row)
    return rows


def _ratio_row(name: str, timing: Timing, reference: Timing) -> Row:
    ratios = timing.ratios(reference)
    return {
        "name": name,
        "seconds": timing.median,
        "ratio": float(np.median(ratios)),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
    }


def readings(n: int, d: int, repeat: int) -> list[Row]:
    """Measure the time of the kernels on one array a client, divided by the time to read all arrays once."""
    random = np.random.default_rng(0)
    rows = [random.standard_normal(d, dtype=np.float32) for _ in range(n)]
    columns = Columns([rows], rows[0].dtype, n)
    base, out = [rows[0].copy()], [np.zeros_like(rows[0])]
    f = (n - 3) // 4
    chosen = [rules.Mean(), rules.Median(), rules.TrimmedMean(f), rules.Phocas(f), rules.Krum(f)]
    chosen += [rules.MultiKrum(f), rules.Bulyan(f), rules.MultiBulyan(f)]
    calls: dict[str, Call] = {"reading": reading(row.view(np.int64) for row in rows)}
    for rule in chosen:
        calls[type(rule).__name__] = _kernels(rule, columns, base, out)
    timings = time_in_turn(calls, {}, repeat)
    table = []
    for name, call in calls.items():
        row = _ratio_row(name, timings[name], timings["reading"]) | {"n": n, "d": d}
        peak = peak_bytes(call)
        result = 0 if name == "reading" else d * 4
        row["memory"] = None if peak is None else (peak + result) / (n * d * 4)
        row["limit_time"], row["limit_memory"] = READINGS.get(name), 0.06
        table.append(row)
    return table


def _kernels(rule: rules.Rule, columns: Columns, base: list[Any], out: list[Any]) -> Call:
    """Apply a rule's kernels. The result goes to existing memory, because only the kernels are measured."""
    return lambda: combine(columns, *rule.plan_for(Points(columns)), base=base, out=out)


def scaling(n: int, d: int, repeat: int) -> list[Row]:
    """Measure the time for 10 d values, divided by the time for d values."""
    small, large = (time_in_turn(*_prepared(n, size)[1:], repeat) for size in (d, 10 * d))
    return [
        {
            "name": name,
            "n": n,
            "d": d,
            "seconds": small[name].median,
            "seconds_10d": large[name].median,
            "growth": large[name].median / small[name].median,
        }
        for name in small
    ]


def first_use() -> list[Row]:
    """Measure in a new process how long the import takes, and a first and a second aggregation."""
    rows: list[Row] = [{"name": "import flwr_byzantine", "first": _fresh("pass")[0], "limit": 1.0}]
    for name in ("Median", "Phocas", "MultiKrum", "Bulyan", "MultiBulyan"):
        arguments = "" if name == "Median" else "1"
        first, second = _fresh(f"rules.{name}({arguments})(numpy.zeros((20, 100_000), 'float32'))")
        rows.append({"name": name, "first": first, "second": second, "limit": second + 0.05})
    return rows


def _fresh(code: str) -> list[float]:
    """Seconds that ``import flwr_byzantine`` takes in a new process, or a first and a second use after it."""
    imports = "import time; s = time.perf_counter(); import flwr_byzantine; from flwr_byzantine import rules"
    clock = "print(time.perf_counter() - s); s = time.perf_counter()"
    uses = ["pass"] if code == "pass" else ["import numpy; s = time.perf_counter()", code, code]
    lines = [imports, *(line for use in uses for line in (use, clock))]
    command = [sys.executable, "-c", "\n".join(lines)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [float(line) for line in done.stdout.splitlines()][-2:]


Suite = Callable[[], list[Row]]


def all_suites(quick: bool) -> dict[str, Suite]:
    """Name -> suite, at full size, or so small that it only shows that the suite runs."""
    if quick:
        return {
            "strategies": lambda: strategies(11, 20_000, 2),
            "readings": lambda: readings(11, 20_000, 2),
            "clients": lambda: strategies(8, 20_000, 2),
            "scaling": lambda: scaling(8, 10_000, 2),
            "rules": lambda: compared(classic_rules(2), 11, 20_000, 2),
            "modern": lambda: compared(modern_rules(2), 11, 20_000, 2),
            "first_use": first_use,
            "rounds": lambda: rounds(2, 1),
        }
    return {
        "strategies": lambda: strategies(20, 10_000_000, 7),
        "readings": lambda: readings(20, 10_000_000, 11),
        "clients": lambda: [row for n in (8, 20, 50, 100) for row in strategies(n, 1_000_000, 7)],
        "scaling": lambda: scaling(8, 5_000_000, 5),
        "rules": lambda: compared(classic_rules(4), 20, 1_000_000, 11),
        "modern": lambda: compared(modern_rules(4), 20, 1_000_000, 5),
        "first_use": first_use,
        "rounds": lambda: rounds(20, 3),
    }


def run_suite(name: str, quick: bool) -> list[Row]:
    """Run the suite of a name."""
    return all_suites(quick)[name]()
