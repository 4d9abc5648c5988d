"""`RAY_ADDRESS`, with a cluster at that address and without one."""

import socket

import pytest
from small_app import small_app

from flwr_byzantine.lab import ray_address, stress
from flwr_byzantine.lab.engine import require_engine
from flwr_byzantine.lab.ray_address import require_cluster

pytest.importorskip("ray")


@pytest.fixture
def listening():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("address", ["", "auto", "local", "127.0.0.1:{}", "ray://127.0.0.1:{}"])
def test_somebody_is_there_or_nobody_is_named(monkeypatch, listening, address):
    monkeypatch.setenv("RAY_ADDRESS", address.format(listening))
    require_cluster()


@pytest.mark.parametrize("address", ["nonsense", "host", "host:port", ":6379", "127.0.0.1:99999"])
def test_no_address(monkeypatch, address):
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(ValueError, match="`RAY_ADDRESS` should be the address of a cl") as error:
        require_engine("ray")
    assert "\n" not in str(error.value)


def test_nobody_is_there(monkeypatch, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
    with pytest.raises(
        ValueError, match=rf"Found `RAY_ADDRESS=127.0.0.1:{port}`, where nobody"
    ) as error:
        stress(small_app(tmp_path), engine="ray")
    assert "\n" not in str(error.value)
    assert ray_address.PATIENCE < 10
    require_engine("inline")
