"""The examples as users have them, before and after the change that the docs show."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import tomllib
from functools import partial
from pathlib import Path

import pytest
from flwr.app import Context
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp
from flwr.simulation import run_simulation

from flwr_byzantine.attacks import SignFlip
from flwr_byzantine.clients import MaliciousClient, attack_mod

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLES = REPOSITORY / "examples"
DIFFS = {
    "digits-numpy": ("robust.diff", "robust-fedadam.diff"),
    "digits-torch": ("robust.diff",),
}
NODES = 6


def settings(example):
    """The run configuration that the example comes with."""
    project = tomllib.loads((EXAMPLES / example / "pyproject.toml").read_text())
    return project["tool"]["flwr"]["app"]["config"]


def patched(example, diff, folder):
    """The server's file in a copy of an example, with a diff applied to it where one is given."""
    copy = folder / (diff or "before")
    shutil.copytree(EXAMPLES / example, copy)
    if diff:
        command = ["patch", "-p1", "--no-backup-if-mismatch", "-i", EXAMPLES / example / diff]
        subprocess.run(command, cwd=copy, check=True, capture_output=True)
    return copy / example.replace("-", "_") / "server_app.py"


def load(path):
    """A module from a file."""
    spec = importlib.util.spec_from_file_location(path.parent.parent.name.replace(".", "_"), path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def configured(context, config):
    """The context with the run configuration that `flwr run` would give it."""
    return Context(context.run_id, context.node_id, context.node_config, context.state, config)


def misbehave(client, client_id):
    """What node 0 is made of."""
    return MaliciousClient(client, SignFlip(scale=20), client_id=client_id)


def message_clients(config, attackers):
    """The app of the numpy example, node 0 malicious through a mod."""

    def wrap(make_honest, client_id):
        honest = make_honest(client_id)
        return misbehave(honest, client_id) if client_id in attackers else honest

    app = ClientApp(mods=[attack_mod(wrap)])

    @app.train()
    def train(message, context):
        from digits_numpy.client_app import app

        return app(message, configured(context, config))

    return app


def legacy_clients(config, attackers):
    """The app of the torch example, node 0 malicious through a wrapper."""

    def client_fn(context):
        from digits_torch.client_app import client_fn

        client = client_fn(configured(context, config)).numpy_client
        client_id = int(context.node_config["partition-id"])
        return (misbehave(client, client_id) if client_id in attackers else client).to_client()

    return ClientApp(client_fn=client_fn)


CLIENTS = {"digits-numpy": message_clients, "digits-torch": legacy_clients}


def accuracies(example, modules, attackers):
    """The final accuracy of each server, one after the other on one engine."""
    config, last = settings(example), {}
    outer = ServerApp()

    def record(evaluate, name, *arguments):
        result = evaluate(*arguments)
        metrics = result[1] if isinstance(result, tuple) else result
        last[name] = metrics["accuracy"]
        return result

    @outer.main()
    def main(grid, context):
        for name, module in modules.items():
            module.evaluate = partial(record, module.evaluate, name)
            module.app(grid, configured(context, config))

    resources = {
        "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
        "init_args": {"num_cpus": 2, "address": "local"},
    }
    client_app = CLIENTS[example](config, attackers)
    run_simulation(outer, client_app, NODES, backend_config=resources)
    return last


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.parametrize(
    "example", ["digits-numpy", pytest.param("digits-torch", marks=pytest.mark.torch)]
)
def test_a_change_of_two_lines_saves_an_example_from_an_attacker(example, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES / example))
    modules = {diff: load(patched(example, diff, tmp_path)) for diff in ("", *DIFFS[example])}
    accuracy = accuracies(example, modules, attackers=(0,))
    assert accuracy.pop("") < 0.5
    assert set(accuracy) == set(DIFFS[example])
    assert min(accuracy.values()) > 0.8


@pytest.mark.parametrize(("example", "diff"), [(e, d) for e in DIFFS for d in DIFFS[e]])
def test_diffs_apply_and_the_docs_show_them_as_they_are(example, diff, tmp_path):
    text = (EXAMPLES / example / diff).read_text()
    assert text in (EXAMPLES / "README.md").read_text()
    compile(patched(example, diff, tmp_path).read_text(), diff, "exec")
    (changed,) = [line for line in text.splitlines() if line.startswith("+    ")]
    assert "strategy = " in changed


@pytest.mark.slow
def test_the_numpy_example_does_without_torch():
    code = "import sys, digits_numpy.server_app, digits_numpy.client_app; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=EXAMPLES / "digits-numpy", check=True)
