"""The Ray cluster that ``RAY_ADDRESS`` names."""

from __future__ import annotations

import os
import socket

from flwr_byzantine.checks import wrong

VARIABLE = "RAY_ADDRESS"
NO_ADDRESS = ("", "auto", "local")
PATIENCE = 5.0  # seconds in which to connect; Ray itself tries for minutes
ADVICE = (
    "Start the cluster with `ray start --head --port=6379`, or unset the variable. Without it, Ray starts on "
    "this machine."
)


def require_cluster() -> None:
    """Raise if ``RAY_ADDRESS`` is set and nobody listens at that address.

    Raises
    ------
    ValueError
        In that case. The error names the address.
    """
    address = os.environ.get(VARIABLE, "").strip()
    if address in NO_ADDRESS:
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    found = f"`{VARIABLE}={address}`"
    if not host or not port.isdecimal() or int(port) >= 2**16:
        raise wrong(VARIABLE, "the address of a cluster, host:port", address, ADVICE, found=found)
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=PATIENCE).close()
    except OSError as error:
        found += f", where nobody answers ({error.strerror or error})"
        expected = "the address of a cluster that runs"
        raise wrong(VARIABLE, expected, address, ADVICE, found=found) from None
