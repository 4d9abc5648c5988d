"""The Ray cluster that ``RAY_ADDRESS`` names."""

from __future__ import annotations

import os
import socket

from flwr_byzantine.checks import wrong

VARIABLE = "RAY_ADDRESS"
NO_ADDRESS = ("", "auto", "local")
PATIENCE = 5.0  # seconds to connect in; Ray itself tries for minutes
ADVICE = "Start the cluster with `ray start --head --port=6379`, or unset the variable: Ray then starts here."


def require_cluster() -> None:
    """Raise unless somebody listens where ``RAY_ADDRESS`` says, if it says anything.

    Raises
    ------
    ValueError
        Naming the address.
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
