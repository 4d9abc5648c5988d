"""Ports on this machine, for servers that a test starts."""

import socket
import time


def free_port():
    """A port that no program uses now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def wait_for(port, server):
    """Wait until a server listens, or has ended."""
    end = time.monotonic() + 60
    while time.monotonic() < end and server.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return
        except OSError:
            time.sleep(0.2)
