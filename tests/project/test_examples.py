"""The examples as users have them, before and after the change that their page shows."""

from __future__ import annotations

import importlib
import importlib.util
import shutil
import subprocess
import sys
import tomllib
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from flwr.app import Context
from flwr.client import NumPyClient
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp
from flwr.simulation import run_simulation
from packaging.requirements import Requirement

from flwr_byzantine.clients import MaliciousClient

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLES = REPOSITORY / "examples"
DIFFS = {
    "digits-numpy": ("robust.diff", "robust-fedadam.diff"),
    "digits-torch": ("robust.diff",),
}
NODES = 6
HONEST = NumPyClient()


def settings(example):
    """The run configuration of an example."""
    project = tomllib.loads((EXAMPLES / example / "pyproject.toml").read_text())
    return project["tool"]["flwr"]["app"]["config"]


def patched(example, diff, folder):
    """The server's file in a copy of an example. A diff is applied to it if one is given."""
    copy = folder / (diff or "before")
    shutil.copytree(EXAMPLES / example, copy)
    if diff:
        command = ["patch", "-p1", "--no-backup-if-mismatch", "-i", EXAMPLES / example / diff]
        subprocess.run(command, cwd=copy, check=True, capture_output=True)
    return copy / example.replace("-", "_") / "server_app.py"


def load(path):
    """Load a module from a file."""
    spec = importlib.util.spec_from_file_location(path.parent.parent.name.replace(".", "_"), path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def configured(context, config):
    """A context with the run configuration that `flwr run` would give."""
    return Context(context.run_id, context.node_id, context.node_config, context.state, config)


def client_app(example, config):
    """The app of an example's nodes, with the run configuration that `flwr run -c` would give it."""
    name, app = f"{example.replace('-', '_')}.client_app", ClientApp()

    @app.train()
    def train(message, context):
        return importlib.import_module(name).app(message, configured(context, config))

    return app


def accuracies(example, modules, **asked):
    """The final accuracy of each server. They run one after the other on one engine."""
    config, last = settings(example) | asked, {}
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
    run_simulation(outer, client_app(example, config), NODES, backend_config=resources)
    return last


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.parametrize(
    "example", ["digits-numpy", pytest.param("digits-torch", marks=pytest.mark.torch)]
)
def test_a_change_of_two_lines_saves_an_example_from_an_attacker(example, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES / example))
    modules = {diff: load(patched(example, diff, tmp_path)) for diff in ("", *DIFFS[example])}
    accuracy = accuracies(example, modules, attackers=1)
    assert accuracy.pop("") < 0.5
    assert set(accuracy) == set(DIFFS[example])
    assert min(accuracy.values()) > 0.8


@pytest.mark.parametrize("example", DIFFS)
def test_an_example_asks_for_the_engine_that_it_runs_on(example):
    project = tomllib.loads((EXAMPLES / example / "pyproject.toml").read_text())["project"]
    needed = {r.name: r for r in map(Requirement, project["dependencies"])}
    assert needed["flwr"].extras == {"simulation"}
    ours = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    assert needed["flwr-byzantine"].specifier.contains(ours)


@pytest.mark.parametrize("example", DIFFS)
def test_the_run_configuration_says_who_attacks_and_how(example, monkeypatch):
    path = EXAMPLES / example / example.replace("-", "_") / "attackers.py"
    module, config = load(path), settings(example)
    assert (config["attackers"], config["attack"]) == (0, "sign_flip")

    def client(number, **asked):
        context = SimpleNamespace(run_config=config | asked)
        if example == "digits-numpy":
            return module.honest_or_not(lambda _: HONEST, number, context)
        return module.honest_or_not(HONEST, number, context.run_config)

    assert [client(i) for i in range(3)] == [HONEST] * 3
    assert {type(client(i, attackers=2)) for i in range(2)} == {MaliciousClient}
    assert client(2, attackers=2) is HONEST
    for attack in module.ATTACKS:
        assert client(0, attackers=1, attack=attack).attack is module.ATTACKS[attack]
        assert f"`{attack}`" in (EXAMPLES / "README.md").read_text()
    for number in range(2):  # an honest node reports the mistake too
        with pytest.raises(ValueError, match=r"one of sign_flip, .* Found `attack = sing_flip`"):
            client(number, attackers=1, attack="sing_flip")


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
