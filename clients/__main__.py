"""Take part in a federation of ``start_server``, as an honest client or as one that misbehaves."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from flwr.client import start_client

from clients.nodes import ROLES, configured_client


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m clients", description=__doc__)
    parser.add_argument("server", metavar="HOST:PORT", help="the address of the server")
    parser.add_argument("--node", type=int, default=0, help="number of this client (default: 0)")
    parser.add_argument(
        "--nodes", type=int, default=8, help="how many clients share the digits (default: 8)"
    )
    parser.add_argument(
        "--data", type=Path, help="an .npz file of this client's own samples, as arrays x and y"
    )
    parser.add_argument(
        "--role", choices=ROLES, default="honest", help="what this client does (default: honest)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of an attack's random choices (default: 0)"
    )
    parser.add_argument(
        "--ca", type=Path, help="the CA's certificate; without it, the connection has no TLS"
    )
    arguments = parser.parse_args(argv)
    if arguments.data is None and not 0 <= arguments.node < arguments.nodes:
        parser.error(f"--node should be from 0 to {arguments.nodes - 1}")
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Take part until the server is done, and return the exit code."""
    arguments = parse(argv)
    config: dict[str, object] = {
        "partition-id": arguments.node,
        "num-partitions": arguments.nodes,
        "role": arguments.role,
        "seed": arguments.seed,
    }
    if arguments.data is not None:
        config["data"] = arguments.data
    client = configured_client(config).to_client()
    certificates = arguments.ca.read_bytes() if arguments.ca else None
    start_client(server_address=arguments.server, client=client, root_certificates=certificates)
    return 0


if __name__ == "__main__":
    sys.exit(main())
