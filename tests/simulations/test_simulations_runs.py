"""Real federations: in this process, from the command line, and through ``flwr run``."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from flwr.clientapp import ClientApp

from flwr_byzantine.kernels import compiled
from simulations.config import RunConfig
from simulations.federation.runner import run, run_all

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.torch]

PROJECT = Path(__file__).parents[2]
SHORT = {"clients": 6, "byzantine": 1, "attack": "gaussian", "rounds": 3, "local_steps": 2}


def start(*arguments, **settings):
    """Start a command in the project's folder, with the environment's programs on the path."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.Popen(
        [str(argument) for argument in arguments],
        cwd=PROJECT,
        env=os.environ | {"PATH": path} | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def command(*arguments, **settings):
    """Run a command to its end, and return its exit status and what it printed."""
    process = start(*arguments, **settings)
    try:
        output, _ = process.communicate(timeout=500)
    finally:
        process.kill()
    return process.returncode, output


@pytest.fixture(scope="module")
def outcomes():
    """Several runs on one engine: both APIs, both payloads, another seed, and one that fails."""
    runs = {
        "message": RunConfig(**SHORT, rule="phocas"),
        "legacy": RunConfig(**SHORT, rule="phocas", api="legacy"),
        "seed": RunConfig(**SHORT, rule="phocas", seed=1),
        "bad": RunConfig(**SHORT, rule="phocas", dataset="mnist"),
        "gradients": RunConfig(**SHORT | {"local_steps": 1}, rule="krum", payload="gradients"),
        "fedavg": RunConfig(**SHORT, rule="fedavg"),
        "fedavg again": RunConfig(**SHORT, rule="fedavg"),
        "again": RunConfig(**SHORT, rule="phocas"),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("simulations.federation.runner.datasets.prepare", lambda *_: None)
        seen = []
        results = run_all(list(runs.values()), lambda cell, record: seen.append(cell))
    assert seen == [i for i, name in enumerate(runs) if name != "bad" for _ in range(3)]
    return dict(zip(runs, results, strict=True))


@pytest.mark.ray
def test_the_same_seed_gives_the_same_model_to_the_bit_in_both_apis(outcomes):
    models = {name: r["parameters_sha256"] for name, r in outcomes.items() if name != "bad"}
    assert models["message"] == models["legacy"] == models["again"]
    assert models["fedavg"] == models["fedavg again"]
    assert len(set(models.values())) == 4


@pytest.mark.ray
def test_without_ray_the_model_is_the_same_to_the_bit(outcomes):
    names = ("message", "legacy", "gradients", "fedavg")
    configs = [RunConfig(**outcomes[name]["config"]) for name in names]
    seen = []
    results = run_all(configs, lambda cell, record: seen.append(cell), inline=True)
    assert seen == [i for i in range(len(names)) for _ in range(3)]
    for name, result in zip(names, results, strict=True):
        assert result["parameters_sha256"] == outcomes[name]["parameters_sha256"]
        assert result["detection"] == outcomes[name]["detection"]


@pytest.mark.ray
def test_every_round_has_a_record_with_the_strategys_metrics(outcomes):
    for name in ("message", "legacy", "gradients"):
        rounds = outcomes[name]["rounds"]
        assert [record["round"] for record in rounds] == [1, 2, 3]
        for record in rounds:
            assert record["accuracy"] * 360 == pytest.approx(round(record["accuracy"] * 360))
            assert record["seconds"] > record["aggregate_seconds"] > 0
            assert (record["num_received"], record["num_failed"]) == (6, 0)
    assert {record["num_selected"] for record in outcomes["gradients"]["rounds"]} == {1}


@pytest.mark.ray
def test_a_run_that_fails_does_not_stop_the_others(outcomes):
    assert isinstance(outcomes["bad"], FileNotFoundError)


@pytest.mark.parametrize("inline", [pytest.param(False, marks=pytest.mark.ray), True])
def test_failing_clients_fail_the_run_with_their_reason(monkeypatch, inline):
    def broken(configs):
        def client_fn(context):
            raise KeyError("cell")

        return ClientApp(client_fn=client_fn)

    monkeypatch.setattr("simulations.federation.runner._client_app", broken)
    configs = [RunConfig(**SHORT, api=api) for api in ("message", "legacy")]
    for failure in run_all(configs, inline=inline):
        assert isinstance(failure, RuntimeError)
        assert "All clients failed in round 1" in str(failure)
        assert "KeyError: 'cell'" in str(failure)


def test_what_ends_a_single_run_is_raised(monkeypatch):
    monkeypatch.setattr(
        "simulations.federation.runner.run_all", lambda *_, **__: [ArithmeticError("so")]
    )
    with pytest.raises(ArithmeticError, match="so"):
        run(RunConfig(**SHORT))


def test_runs_with_different_numbers_of_clients_are_refused():
    with pytest.raises(ValueError, match=r"Found \[6, 7\]"):
        run_all([RunConfig(clients=6), RunConfig(clients=7)])


@pytest.mark.ray
def test_the_command_line_writes_the_same_result_from_another_process(tmp_path, outcomes):
    options = [f"--{name.replace('_', '-')}={value}" for name, value in SHORT.items()]
    out = tmp_path / "example"
    module = (sys.executable, "-m", "simulations", "run", "--rule=phocas")
    status, output = command(*module, *options, "--out", out)
    assert status == 0, output
    result = json.loads((out / "result.json").read_text(), parse_constant=pytest.fail)
    assert RunConfig(**result["config"]) == RunConfig(**SHORT, rule="phocas")
    assert [record["round"] for record in result["rounds"]] == [1, 2, 3]
    assert result["final_accuracy"] == outcomes["message"]["final_accuracy"]
    assert result["parameters_sha256"] == outcomes["message"]["parameters_sha256"]
    # The bundle must not hold the library: it would lack the compiled kernels, and come first on the path.
    assert result["kernels"] == compiled.choice().name
    assert compiled.LIBRARY.exists() == (result["kernels"] != "numpy")
    assert result["versions"].keys() >= {"flwr", "torch", "numpy"}
    assert "phocas, gaussian" in output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--clients=4", "--rule=krum", "--byzantine=1"], "at least 5 for krum"),
        (["--dataset=mnist", "--data-dir=nowhere"], "should name a folder that holds MNIST/raw"),
    ],
)
def test_the_command_line_fails_with_what_to_do(options, message):
    status, output = command(sys.executable, "-m", "simulations", "run", *options)
    assert status == 1
    assert message in " ".join(output.split())
    assert "Traceback" not in output


@pytest.mark.ray
def test_ctrl_c_ends_a_run_and_everything_it_started():
    module = (sys.executable, "-m", "simulations", "run", "--rounds=2000", "--verbose")
    process = start(*module)
    lines = iter(process.stdout.readline, "")
    assert any("[ROUND 3" in line for line in lines)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    assert process.returncode == 130
    deadline = time.monotonic() + 30
    while left := session(process.pid):
        assert time.monotonic() < deadline, left
        time.sleep(0.5)


def session(leader):
    """Return the command lines of the processes that are still in a session."""
    listing = subprocess.run(["ps", "-s", str(leader), "-o", "args="], capture_output=True)
    return listing.stdout.decode().splitlines()


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture
def superlink(tmp_path):
    """Start a SuperLink of our own, name it in Flower's settings, and end it by its process id."""
    port, control = free_port(), free_port()
    home = tmp_path / "flwr"
    home.mkdir()
    (home / "config.toml").write_text(
        f'[superlink.own]\naddress = "127.0.0.1:{port}"\ninsecure = true\n'
    )
    arguments = ["--insecure", "--simulation", "--host=127.0.0.1", f"--port={port}"]
    arguments += [f"--control-api-address=127.0.0.1:{control}"]
    process = start("flower-superlink", *arguments, FLWR_HOME=str(home))
    try:
        wait_until_healthy(process, port)
        yield home
    finally:
        process.terminate()
        try:
            process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()


def wait_until_healthy(process, port):
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        assert process.poll() is None, process.stdout.read()
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2).close()
            return
        except OSError:
            time.sleep(0.2)
    pytest.fail("The SuperLink did not start.")


@pytest.mark.ray
@pytest.mark.superlink
@pytest.mark.parametrize("api", ["message", "legacy"])
def test_flwr_run_gives_the_same_result_as_the_command_line(api, superlink, tmp_path, outcomes):
    options = SHORT | {"rule": "phocas", "api": api, "out": str(tmp_path / "out")}
    run_config = " ".join(f"{k.replace('_', '-')}={json.dumps(v)}" for k, v in options.items())
    federation = "num-supernodes=6 client-resources-num-cpus=1"
    flwr = ("flwr", "run", ".", "own", "--stream", "--federation-config", federation)
    _, output = command(*flwr, "--run-config", run_config, FLWR_HOME=str(superlink))
    _, listing = command("flwr", "list", "own", "--format=json", FLWR_HOME=str(superlink))
    assert '"finished:completed"' in listing, output + listing
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["parameters_sha256"] == outcomes["message"]["parameters_sha256"]
