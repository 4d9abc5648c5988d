"""A simulation on an existing Ray cluster, whose two nodes are processes of this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest
from small_app import small_app

from deploy.drill.federation import free_ports
from deploy.drill.processes import DrillError, Process, wait_until

REPOSITORY = Path(__file__).resolve().parents[2]
TRIES = 3  # Ray gives its processes a fixed time to start, which can be too short on a busy machine


def start_node(stack, folder, name, *arguments):
    """Start one node of the cluster. It ends with the stack."""
    command = [Path(sys.executable).with_name("ray"), "start", "--block", "--disable-usage-stats"]
    command += ["--object-store-memory", "100000000", *arguments]
    for _ in range(TRIES):
        log = Path(tempfile.mkstemp(dir=folder, prefix=name)[1])
        node = Process([str(part) for part in command], os.environ, log)
        stack.callback(node.stop)
        try:
            wait_until(
                lambda log=log, node=node: (
                    "Ray runtime started" in log.read_text() or not node.running
                ),
                f"the {name} started",
                60,
            )
        except DrillError:
            continue
        if node.running:
            return
    pytest.skip(f"Ray did not start here: {log.read_text()[-300:]}")


@pytest.fixture
def cluster():
    """The address of a cluster. Its head runs no clients, and another node does."""
    port, client_port = free_ports(2)
    with tempfile.TemporaryDirectory(prefix="r-", dir="/tmp") as folder, ExitStack() as stack:
        head = ["--head", "--port", port, "--ray-client-server-port", client_port, "--num-cpus", 0]
        head += ["--include-dashboard", "false", "--temp-dir", folder]
        start_node(stack, folder, "head", *head)
        start_node(stack, folder, "worker", "--address", f"127.0.0.1:{port}", "--num-cpus", 2)
        yield f"127.0.0.1:{port}"


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.torch
@pytest.mark.timeout(400)
def test_a_simulation_joins_the_cluster_that_ray_address_names(cluster, tmp_path):
    run = [sys.executable, "-m", "simulations", "run", "--clients", "4", "--rounds", "2"]
    run += ["--byzantine", "1", "--attack", "gaussian", "--rule", "median", "--out", tmp_path]
    env = os.environ | {"RAY_ADDRESS": cluster}
    done = subprocess.run(run, cwd=REPOSITORY, env=env, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(json.loads((tmp_path / "result.json").read_text())["rounds"]) >= 2


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(400)
def test_a_stress_test_joins_it_too(cluster, tmp_path):
    run = [sys.executable, "-m", "flwr_byzantine", "stress", small_app(tmp_path / "app")]
    run += ["--engine", "ray", "--clients", "4", "--byzantine", "1", "--rules", "median"]
    run += ["--attacks", "sign_flip", "--out", tmp_path / "out"]
    env = os.environ | {"RAY_ADDRESS": cluster, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(run, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    cells = json.loads((tmp_path / "out" / "stress.json").read_text())["cells"]
    assert [cell["error"] for cell in cells] == [None] * 4
