"""A SuperLink and SuperNodes with TLS and keys, made with the scripts that users run."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self
from urllib.request import urlopen

from deploy.drill.processes import DrillError, Process, wait_until

SCRIPTS = Path(__file__).resolve().parent.parent
REPOSITORY = SCRIPTS.parent
CONNECTION = "drill"
ENVIRONMENT = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in sockets]
    for server in sockets:
        server.close()
    return ports


class Federation:
    """A federation on the loopback interface; leaving the ``with`` block ends all of it.

    Parameters
    ----------
    folder : Path
        For its keys, databases, logs and Flower homes.
    configs : mapping
        Name of each node -> its ``--node-config``.
    """

    def __init__(self, folder: Path, configs: Mapping[str, str]) -> None:
        self.folder, self.configs = folder, configs
        port, *ports = free_ports(1 + len(configs))
        self.address = f"localhost:{port}"
        self.ports = dict(zip(configs, ports, strict=True))
        self.processes: list[Process] = []
        self.nodes: dict[str, Process] = {}
        self.ids: dict[str, str] = {}
        self.env = os.environ | ENVIRONMENT | {"SUPERLINK_PORT": str(port)}
        self.env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.env["FLWR_HOME"] = str(folder / "operator")

    def __enter__(self) -> Self:
        """Make keys, start the SuperLink, register every node."""
        try:
            self._set_up()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End all processes."""
        self.close()

    def _set_up(self) -> None:
        link, keys = self.folder / "superlink", self.folder / "nodes"
        self._script("make-certificates.sh", self.folder / "ca", link, "localhost", "127.0.0.1")
        self._script("make-node-keys.sh", keys, *self.configs)
        shutil.copy(link / "ca.crt", keys)
        command = [str(SCRIPTS / "superlink.sh"), str(link)]
        self.superlink = Process(command, self.env, self.folder / "superlink.log")
        self.processes.append(self.superlink)
        self._script("add-connection.sh", CONNECTION, self.address, keys / "ca.crt")
        wait_until(self.is_healthy, "the SuperLink answered", 60)
        public = [keys / f"{name}.pub" for name in self.configs]
        told = self._script("register-nodes.sh", CONNECTION, *public)
        ids = re.findall(r"SuperNode (\d+) registered", told)
        self.ids = dict(zip(self.configs, ids, strict=True))

    def is_healthy(self) -> bool:
        """Whether the SuperLink answers, with a certificate of our CA; DrillError if it has ended."""
        if not self.superlink.running:
            raise DrillError(f"the SuperLink ended:\n{self.superlink.tail()}")
        trust = ssl.create_default_context(cafile=self.folder / "nodes" / "ca.crt")
        try:
            with urlopen(f"https://{self.address}/health", timeout=5, context=trust) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def start(self, name: str) -> None:
        """Start a node, or start it again."""
        keys = self.folder / "nodes"
        env = self.env | {"SUPERNODE_PORT": str(self.ports[name])}
        command = [str(SCRIPTS / "supernode.sh"), str(keys), name, self.address]
        command += ["--node-config", self.configs[name]]
        self.nodes[name] = Process(command, env, self.folder / f"{name}.log")
        self.processes.append(self.nodes[name])

    def sessions(self, name: str) -> list[str]:
        """The node id that the SuperLink gave a node, each time it was let in."""
        log = self.nodes[name].log.read_text(errors="replace")
        return re.findall(r"SuperNode ID: (\d+)", log)

    def flwr(self, *arguments: str) -> dict[str, Any]:
        """Ask the ``flwr`` command; its answer."""
        answer: dict[str, Any] = json.loads(self._run("flwr", *arguments, "--format", "json"))
        return answer

    def _script(self, name: str, *arguments: object) -> str:
        return self._run(str(SCRIPTS / name), *map(str, arguments))

    def _run(self, *command: str) -> str:
        done = subprocess.run(
            command,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        if done.returncode:
            raise DrillError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
        return done.stdout

    def close(self) -> None:
        """End all processes: the nodes, then the SuperLink."""
        for process in reversed(self.processes):
            if process.running:
                process.terminate()
        for process in reversed(self.processes):
            process.stop()
