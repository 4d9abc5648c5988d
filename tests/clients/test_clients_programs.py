"""The programs for separate machines: what each role sends, and the two ways to run them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.app.metadata import Metadata
from ports import free_port, wait_for

import clients
import flwr_byzantine.clients
from clients import app, digits, nodes
from clients.__main__ import parse

REPOSITORY = Path(__file__).resolve().parents[2]
NODES = 8


def ask(**config):
    """The reply of a SuperNode with this configuration: its model, and the number of examples."""
    metadata = Metadata(
        run_id=1, message_id="m", src_node_id=1, dst_node_id=2, reply_to_message_id="",
        group_id="1", created_at=0.0, ttl=1e12, message_type="train",
        src_task_id=None, dst_task_id=None,
    )  # fmt: skip
    model = ArrayRecord(digits.initial_model())
    content = RecordDict({"arrays": model, "config": ConfigRecord({"server-round": 1})})
    node = {name.replace("_", "-"): value for name, value in config.items()}
    message = Message(content, metadata=metadata)
    reply = app.app(message, Context(1, 2, node, RecordDict(), {})).content
    return reply["arrays"].to_numpy_ndarrays(), reply["metrics"]["num-examples"]


def accuracy(model):
    return digits.evaluate(model, *digits.splits()[1])[1]


def test_the_names_that_were_public_still_are():
    for name in clients.__all__:
        there = {"Schedule": "AttackSchedule"}.get(name, name)
        assert getattr(clients, name) is getattr(flwr_byzantine.clients, there)


def test_an_honest_node_learns_and_others_do_not():
    honest, examples = ask(partition_id=2, num_partitions=NODES)
    assert accuracy(honest) > 0.6
    assert examples == len(digits.share(2, NODES)[1])
    for role in set(nodes.ROLES) - {"honest", "lying"}:
        sent, told = ask(partition_id=2, num_partitions=NODES, role=role)
        assert accuracy(sent) < 0.3, role
        assert told == examples
    sent, told = ask(partition_id=2, num_partitions=NODES, role="lying")
    assert told == 10**12
    np.testing.assert_array_equal(sent[0], honest[0])


def test_a_node_takes_its_samples_from_a_file(tmp_path):
    x, y = digits.share(3, NODES)
    np.savez(tmp_path / "own.npz", x=x, y=y)
    sent, _ = ask(partition_id=3, data=str(tmp_path / "own.npz"))
    np.testing.assert_array_equal(sent[0], ask(partition_id=3, num_partitions=NODES)[0][0])


def test_the_shares_are_all_of_the_training_samples():
    (x, _), (test, _) = digits.splits()
    np.testing.assert_array_equal(np.concatenate([digits.share(i, 3)[0] for i in range(3)]), x)
    assert len(x) + len(test) == 1797


def test_what_no_node_can_be_is_refused(capsys):
    with pytest.raises(ValueError, match=r"Parameter `role` should be one of .*'honset'"):
        nodes.make_client(digits.share(0, 2), 0, "honset")
    with pytest.raises(ValueError, match="Parameter `node` should be from 0 to 1"):
        digits.share(2, 2)
    for arguments in (["a:1", "--role", "honset"], ["a:1", "--node", "8"], []):
        with pytest.raises(SystemExit):
            parse(arguments)
    assert "--node should be from 0 to 7" in capsys.readouterr().err


def test_the_diff_puts_the_nodes_into_the_example(tmp_path):
    example = tmp_path / "example"
    shutil.copytree(REPOSITORY / "examples/digits-numpy", example)
    for diff in ("robust.diff", "clients.diff"):
        command = ["patch", "-p1", "--no-backup-if-mismatch", "-i", example / diff]
        subprocess.run(command, cwd=example, check=True, capture_output=True)
    flower = tomllib.loads((example / "pyproject.toml").read_text())["tool"]["flwr"]["app"]
    assert "clients/**/*.py" in flower["fab-include"]
    module, name = flower["components"]["clientapp"].split(":")
    assert getattr(import_module(module), name) is app.app
    sys.path.insert(0, str(example))
    try:
        task = import_module("digits_numpy.task")
    finally:
        sys.path.remove(str(example))
    shapes = [tensor.shape for tensor in task.initial_model()]
    assert shapes == [tensor.shape for tensor in digits.initial_model()]


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_command_takes_part_in_the_federation_of_the_guide(tmp_path):
    blocks = re.findall(r"(?ms)^```python\n(.*?)^```", (REPOSITORY / "docs/clients.md").read_text())
    (code,) = [block for block in blocks if "start_server" in block]
    script, port = tmp_path / "server.py", free_port()
    script.write_text(code.replace("clients=8", "clients=5").replace("clients=2", "clients=1"))
    address, processes = f"127.0.0.1:{port}", []
    with (tmp_path / "log").open("wb") as log:

        def start(*command, out=log):
            options = {
                "cwd": REPOSITORY,
                "env": os.environ | {"PYTHONPATH": str(REPOSITORY)},
                "stdout": out,
                "stderr": log,
            }
            processes.append(subprocess.Popen([sys.executable, *command], text=True, **options))
            return processes[-1]

        try:
            server = start(script, address, out=subprocess.PIPE)
            wait_for(port, server)
            for i, role in enumerate(("sign-flip", *["honest"] * 4)):
                start("-m", "clients", address, "--node", str(i), "--nodes", "5", "--role", role)
            answer, _ = server.communicate(timeout=120)
        finally:
            for process in processes:
                process.kill()
                process.wait()
    assert server.returncode == 0, (tmp_path / "log").read_text()[-3000:]
    assert float(re.search(r"last round: (\S+)", answer)[1]) > 0.8
