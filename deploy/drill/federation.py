"""A SuperLink, its door and SuperNodes with TLS and keys, made with the scripts that users run."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self
from urllib.request import urlopen

from deploy.drill.processes import DrillError, Process, wait_until

SCRIPTS = Path(__file__).resolve().parent.parent
REPOSITORY = SCRIPTS.parent
CONNECTION = "drill"
PATIENCE = 120.0  # seconds for one command; a few are enough on a machine that is not busy
ENVIRONMENT = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


def free_ports(count: int) -> list[int]:
    """Free ports."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in sockets]
    for server in sockets:
        server.close()
    return ports


class Federation:
    """A federation on the loopback interface. Leaving the ``with`` block ends all of its processes.

    Parameters
    ----------
    folder : Path
        A folder for its keys, databases, logs and Flower homes.
    configs : mapping
        Name of each node -> its ``--node-config``.
    door : bool
        Whether nodes come in through nginx, as they should. If not, they reach the SuperLink directly.

    Attributes
    ----------
    address : str
        The address of the SuperLink for the operator.
    entrance : str
        The address that nodes use.
    """

    def __init__(self, folder: Path, configs: Mapping[str, str], door: bool = True) -> None:
        self.folder, self.configs, self.has_door = folder, configs, door
        port, door_port, *ports = free_ports(2 + len(configs))
        self.address = f"localhost:{port}"
        self.entrance = f"localhost:{door_port}" if door else self.address
        self.ports = dict(zip(configs, ports, strict=True))
        self.processes: list[Process] = []
        self.nodes: dict[str, Process] = {}
        self.ids: dict[str, str] = {}
        self._room: tempfile.TemporaryDirectory[str] | None = None
        self.env = os.environ | ENVIRONMENT | {"SUPERLINK_PORT": str(port)}
        self.env |= {"DOOR_PORT": str(door_port), "DOOR_HOST": "127.0.0.1"}
        self.env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.env["FLWR_HOME"] = str(folder / "operator")

    def __enter__(self) -> Self:
        """Make keys, start the SuperLink, and register every node."""
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
        if self.has_door:
            self._open_door()
        self._script("add-connection.sh", CONNECTION, self.address, keys / "ca.crt")
        wait_until(self.is_healthy, "the SuperLink answered", 60)
        public = [keys / f"{name}.pub" for name in self.configs]
        told = "".join(self._script("register-nodes.sh", CONNECTION, key) for key in public)
        ids = re.findall(r"SuperNode (\d+) registered", told)
        self.ids = dict(zip(self.configs, ids, strict=True))

    def _open_door(self) -> None:
        """Start nginx with its own certificate. Its workers may belong to another user."""
        self._room = tempfile.TemporaryDirectory(prefix="door-")
        self.env["DOOR_HOME"] = self._room.name
        door = self.folder / "door"
        self._script("make-certificates.sh", self.folder / "ca", door, "localhost", "127.0.0.1")
        command = [str(SCRIPTS / "door.sh"), str(door)]
        self.door = Process(command, self.env, self.folder / "door.log")
        self.processes.append(self.door)
        wait_until(self.has_opened, "the door opened", 30)

    def has_opened(self) -> bool:
        """Whether the door answers. Raise DrillError if it has ended."""
        if not self.door.running:
            raise DrillError(f"the door ended:\n{self.door.tail()}")
        host, port = self.entrance.split(":")
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
        except OSError:
            return False
        return True

    def is_healthy(self) -> bool:
        """Whether the SuperLink answers with a certificate of our CA. Raise DrillError if it has ended."""
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
        command = [str(SCRIPTS / "supernode.sh"), str(keys), name, self.entrance]
        command += ["--node-config", self.configs[name]]
        self.nodes[name] = Process(command, env, self.folder / f"{name}.log")
        self.processes.append(self.nodes[name])

    def sessions(self, name: str) -> list[str]:
        """The node ids that the SuperLink gave a node, one for each time that it was let in."""
        log = self.nodes[name].log.read_text(errors="replace")
        return re.findall(r"SuperNode ID: (\d+)", log)

    def flwr(self, *arguments: str) -> dict[str, Any]:
        """Run a ``flwr`` command, and return its answer."""
        answer: dict[str, Any] = json.loads(self._run("flwr", *arguments, "--format", "json"))
        return answer

    def _script(self, name: str, *arguments: object) -> str:
        return self._run(str(SCRIPTS / name), *map(str, arguments))

    def _run(self, *command: str) -> str:
        try:
            done = subprocess.run(
                command,
                env=self.env,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=PATIENCE,
            )
        except subprocess.TimeoutExpired as error:
            raise DrillError(
                f"{' '.join(command)} took more than {PATIENCE:.0f} s. It usually takes a few seconds. "
                "If other programs keep this machine busy, run the drill again when they have ended."
            ) from error
        if done.returncode:
            raise DrillError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
        return done.stdout

    def close(self) -> None:
        """End all processes: the nodes, then the door and the SuperLink."""
        for process in reversed(self.processes):
            if process.running:
                process.terminate()
        for process in reversed(self.processes):
            process.stop()
        if self._room is not None:
            self._room.cleanup()
