"""The benchmarks run. What they measure means something only on an idle machine, so no test checks it."""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow


def test_every_suite_runs_small(tmp_path):
    suites = ("strategies", "readings", "clients", "scaling", "rules", "first_use", "rounds")
    only = [option for suite in suites for option in ("--only", suite)]
    command = [sys.executable, "-m", "benchmarks", "--quick", "--out", str(tmp_path), *only]
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=280)
    bench = json.loads((tmp_path / "bench.json").read_text())
    assert set(bench) == {"machine", *suites}
    for suite in suites:
        assert all(row.get("seconds", row.get("first")) > 0 for row in bench[suite])
    measured = {row["name"] for row in bench["strategies"]}
    assert {"reading", "FedAvg", "Median", "Phocas", "MultiBulyan", "ByGARSPlusPlus"} <= measured
    assert (tmp_path / "bench.md").read_text().count("###") == len(suites)
