"""The door of a SuperLink, and what a node with ca.crt and a registered key can do there."""

from __future__ import annotations

import os
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from base64 import b64encode
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.cli.build import build_fab_from_disk
from flwr.proto.control_pb2 import (
    ListNodesRequest,
    ListRunsRequest,
    RegisterNodeRequest,
    StartRunRequest,
    StopRunRequest,
    UnregisterNodeRequest,
)
from flwr.proto.fab_pb2 import Fab
from flwr.proto.fleet_pb2 import ActivateNodeRequest, PullMessagesRequest, PushMessagesRequest
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.message_pb2 import Message, Metadata, PushObjectRequest
from flwr.proto.node_pb2 import Node
from flwr.supercore.control.control_http_client import ControlHttpClient
from flwr.supercore.date import now
from flwr.supercore.primitives.asymmetric import public_key_to_bytes, sign_message
from flwr.supercore.protobuf.translation import PROTOBUF_REQUEST_TYPES

from deploy.drill.federation import SCRIPTS, Federation, free_ports
from deploy.drill.processes import Process, wait_until

PATH = os.pathsep.join([os.environ["PATH"], "/usr/sbin"])
NGINX = shutil.which("nginx", path=PATH)
MIB = 1024 * 1024
needs_nginx = pytest.mark.skipif(
    NGINX is None, reason="nginx is not installed: apt-get install nginx"
)
federated = [pytest.mark.slow, pytest.mark.superlink, pytest.mark.timeout(240), needs_nginx]
OPEN = {
    f"/v1/fleet/{name}"
    for names in re.findall(r"\^POST /v1/fleet/\(([a-z|-]+)\)", (SCRIPTS / "door.conf").read_text())
    for name in names.split("|")
}
APP = """[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "theft"
version = "1.0.0"
[tool.flwr.app]
publisher = "rogue"
[tool.flwr.app.components]
serverapp = "theft.app:app"
clientapp = "theft.app:client"
[tool.flwr.app.config]
"""
CODE = """import time
from pathlib import Path
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp
app, client = ServerApp(), ClientApp()
@app.main()
def main(grid, context):
    loot = Path({loot!r})
    loot.write_bytes(Path({key!r}).read_bytes())
    while loot.exists():
        time.sleep(0.1)
"""


class Rogue:
    """A malicious operator of a registered node, who knows the door, and has ca.crt and the node's key."""

    def __init__(self, address, authority, key):
        self.host, port = address.split(":")
        self.port, self.url = int(port), f"https://{address}"
        self.trust = ssl.create_default_context(cafile=authority)
        self.key = key
        self.public_key = public_key_to_bytes(key.public_key())
        self.http = httpx.Client(verify=self.trust, timeout=20)

    def headers(self, signed_at=None):
        """The headers that a SuperNode of Flower sends."""
        timestamp = signed_at or now().isoformat()
        signature = sign_message(self.key, timestamp.encode("ascii"))
        return {
            "content-type": "application/protobuf",
            "flwr-public-key": b64encode(self.public_key).decode(),
            "flwr-timestamp": timestamp,
            "flwr-signature": b64encode(signature).decode(),
        }

    def ask(self, path, message=None, method="POST", **headers):
        """Send a request, and return its status. The rest of the answer is not read."""
        body = message.SerializeToString() if message is not None else b""
        with self.http.stream(
            method, self.url + path, content=body, headers=self.headers() | headers
        ) as answer:
            return answer.status_code

    def control(self):
        """The operator's client, at the address that this node uses."""
        return ControlHttpClient(self.url, verify=self.trust, timeout=20)

    def raw(self, request, patience=2.0):
        """Send bytes over TLS, and return all that comes back."""
        plain = socket.create_connection((self.host, self.port), timeout=patience)
        with self.trust.wrap_socket(plain, server_hostname=self.host) as connection:
            connection.sendall(request)
            connection.settimeout(patience)
            answer = b""
            try:
                while piece := connection.recv(65536):
                    answer += piece
                    if b"</html>" in answer:
                        break
            except OSError:
                pass
        return answer.decode(errors="replace")


def is_not_found(answer):
    """Whether nginx's page is the only answer. A status line may be missing, as in HTTP/0.9."""
    lines = re.findall(r"^HTTP/\S+ (\d+)", answer, re.MULTILINE)
    return set(lines) <= {"404"} and "<title>404 Not Found</title>" in answer


@pytest.fixture(scope="module")
def federation(tmp_path_factory):
    with Federation(
        tmp_path_factory.mktemp("federation"), {"honest": "", "rogue": ""}
    ) as federation:
        yield federation


def key_of(federation, name):
    data = (federation.folder / "nodes" / name).read_bytes()
    return serialization.load_ssh_private_key(data, None)


@pytest.fixture(scope="module")
def rogue(federation):
    authority = federation.folder / "nodes" / "ca.crt"
    return Rogue(federation.entrance, authority, key_of(federation, "rogue"))


@pytest.fixture(scope="module")
def inside(federation):
    """The same node without the door: it reaches the SuperLink itself."""
    authority = federation.folder / "nodes" / "ca.crt"
    return Rogue(federation.address, authority, key_of(federation, "rogue"))


def arrivals(federation):
    """The method and path of each request that reached the SuperLink, in order."""
    log = (federation.folder / "superlink.log").read_text(errors="replace")
    return re.findall(r'uvicorn\.access\] \S+ - "(\S+ \S+) HTTP', log)


def routes(inside):
    """The method and path of everything that the running SuperLink serves."""
    described = inside.http.get(f"{inside.url}/openapi.json").json()["paths"]
    found = {(method.upper(), path) for path, methods in described.items() for method in methods}
    found |= set(PROTOBUF_REQUEST_TYPES)
    pages = ("/", "/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json")
    return found | {("GET", page) for page in pages}


def test_the_door_is_open_for_what_supernodes_with_keys_ask():
    """If a new version of Flower adds a path, this fails. Then decide whether nodes need that path."""
    fleet = {path for _, path in PROTOBUF_REQUEST_TYPES if path.startswith("/v1/fleet/")}
    assert {"/v1/fleet/register-node", "/v1/fleet/unregister-node"} == fleet - OPEN
    assert fleet >= OPEN


class TestNode:
    """One federation behind a door. The tests that change it come last."""

    pytestmark = federated

    def test_what_a_node_needs_goes_through(self, federation, rogue):
        def ask(name, message, **headers):
            return rogue.ask(f"/v1/fleet/{name}", message, **headers)

        activation = ActivateNodeRequest(public_key=rogue.public_key, heartbeat_interval=30)
        node = Node(node_id=int(federation.ids["rogue"]))
        assert ask("activate-node", activation) == 200
        beat = SendNodeHeartbeatRequest(node=node, heartbeat_interval=30)
        assert ask("send-node-heartbeat", beat) == 200
        assert ask("pull-messages", PullMessagesRequest(node=node)) == 200
        # The SuperLink still checks keys: it refuses another node's, none, and an old signature.
        other = Node(node_id=int(federation.ids["honest"]))
        assert ask("pull-messages", PullMessagesRequest(node=other)) == 401
        assert ask("pull-messages", PullMessagesRequest(node=node), **{"flwr-signature": ""}) == 401
        old = rogue.headers("2026-01-01T00:00:00+00:00")
        assert ask("pull-messages", PullMessagesRequest(node=node), **old) == 401
        # A node can only send as itself, not as another node, and not as the SuperLink, whose id is 1.
        for sender, refused in ((node.node_id, False), (other.node_id, True), (1, True)):
            metadata = Metadata(src_node_id=sender, dst_node_id=other.node_id, message_type="train")
            said = PushMessagesRequest(node=node, messages_list=[Message(metadata=metadata)])
            assert (ask("push-messages", said) == 401) is refused
        # A piece of 5 MiB of an array reaches the SuperLink, which knows no such run. 8 MiB do not.
        piece = PushObjectRequest(node=node, run_id=1, object_content=bytes(5 * MIB))
        before = len(arrivals(federation))
        assert ask("push-object", piece) not in (404, 413)
        assert "POST /v1/fleet/push-object" in arrivals(federation)[before:]
        piece.object_content = bytes(8 * MIB)
        before = len(arrivals(federation))
        assert ask("push-object", piece) == 413
        head = (
            b"POST /v1/fleet/push-object HTTP/1.1\r\n"
            + HOST
            + b"Transfer-Encoding: chunked\r\n\r\n"
        )
        chunk = b"%x\r\n%s\r\n" % (MIB, bytes(MIB))
        assert rogue.raw(head + 9 * chunk + b"0\r\n\r\n").startswith("HTTP/1.1 413")
        assert arrivals(federation)[before:] == []
        # The SuperLink's log has the node's real address, not the one that the node claims.
        assert ask("pull-messages", PullMessagesRequest(), **{"x-forwarded-for": "6.6.6.6"}) == 401
        assert "6.6.6.6" not in (federation.folder / "superlink.log").read_text()

    def test_a_node_finds_nothing_that_is_not_for_nodes(self, federation, rogue, inside):
        served = routes(inside)
        closed = sorted(route for route in served if route[1] not in OPEN)
        assert len(closed) > 60
        assert {("POST", "/v1/control/stop-run"), ("POST", "/v1/runtime/acquire-task")} <= set(
            closed
        )
        before = len(arrivals(federation))
        for method, path in closed:
            assert rogue.ask(path, method=method) == 404, path
        for path in sorted(OPEN):
            for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"):
                assert rogue.ask(path, method=method) == 404, (method, path)
        assert arrivals(federation)[before:] == []
        # Without the door, the same requests arrive, so this test can fail. Polls are not in the log.
        for method, path in closed:
            inside.ask(path, method=method)
        assert inside.ask("/health", method="GET") == 200
        assert inside.ask("/v1/runtime/acquire-task") == 200
        polls = {"GET /health", "HEAD /health", "POST /v1/runtime/acquire-task"}
        arrived = set(arrivals(federation)[before:])
        assert arrived | polls == {f"{method} {path}" for method, path in closed} | polls

    def test_no_other_spelling_gets_through(self, federation, rogue, inside):
        assert inside.ask("/v1/control/list-nodes", ListNodesRequest()) == 200
        before = len(arrivals(federation))
        for name, request in spellings().items():
            assert is_not_found(rogue.raw(request)), name
        assert arrivals(federation)[before:] == []

    def test_no_request_hides_within_another(self, federation, rogue):
        """Bytes after a permitted request are a request of their own, or are dropped."""
        before = len(arrivals(federation))
        for name, request in smuggled().items():
            answer = rogue.raw(request)
            statuses = re.findall(r"^HTTP/\S+ (\d+)", answer, re.MULTILINE)
            assert set(statuses) <= {"401", "404", "415"}, name
        assert set(arrivals(federation)[before:]) <= {"POST /v1/fleet/pull-messages"}

    def test_a_node_that_leaves_requests_unfinished_is_told_to_wait(self, federation, rogue):
        with AnotherDoor(federation, DOOR_CONNECTIONS="2") as address:
            crowd = Rogue(address, federation.folder / "nodes" / "ca.crt", rogue.key)
            head = (
                b"POST /v1/fleet/push-object HTTP/1.1\r\n" + HOST + b"Content-Length: 9000\r\n\r\n"
            )
            held = [socket.create_connection((crowd.host, crowd.port)) for _ in range(2)]
            held = [crowd.trust.wrap_socket(s, server_hostname="localhost") for s in held]
            for connection in held:
                connection.sendall(head)  # the body never follows
            time.sleep(0.5)
            assert crowd.ask("/v1/fleet/pull-messages") == 503
            assert crowd.ask("/v1/control/list-nodes") == 404
            for connection in held:
                connection.close()
        assert rogue.ask("/v1/fleet/pull-messages") == 401  # each door counts for itself

    def test_a_node_that_asks_too_often_is_told_to_wait(self, federation, rogue):
        with AnotherDoor(federation, DOOR_RATE="1") as address:
            authority = federation.folder / "nodes" / "ca.crt"
            statuses = []

            def ask():
                statuses.append(Rogue(address, authority, rogue.key).ask("/v1/fleet/get-run"))

            threads = [threading.Thread(target=ask) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert set(statuses) == {401, 503}

    def test_the_door_gives_nothing_to_who_is_not_its_superlink(self, federation, rogue, tmp_path):
        """Another program listens on the SuperLink's port, with a certificate of another CA."""
        folder = tmp_path / "door"
        shutil.copytree(federation.folder / "door", folder)
        make = [SCRIPTS / "make-certificates.sh", tmp_path / "ca", tmp_path / "s", "localhost"]
        subprocess.run(make, check=True, capture_output=True)
        shutil.copy(tmp_path / "ca" / "ca.crt", folder)
        before = len(arrivals(federation))
        with AnotherDoor(federation, folder) as address:
            lost = Rogue(address, federation.folder / "nodes" / "ca.crt", rogue.key)
            assert lost.ask("/v1/fleet/pull-messages") == 502
        assert arrivals(federation)[before:] == []

    def test_a_node_cannot_do_what_the_operator_can(self, federation, rogue, inside, tmp_path):
        """It tries to register keys, remove nodes, stop runs and run code, at the door and without it."""
        server_key = (federation.folder / "superlink" / "server.key").read_bytes()
        loot = [tmp_path / "loot-0", tmp_path / "loot-1"]
        fabs = [theft(tmp_path / f"app-{i}", federation, loot[i]) for i in range(2)]
        operator = inside.control()
        sybil = ec.generate_private_key(ec.SECP384R1()).public_key()
        run_id = operator.StartRun(StartRunRequest(fab=fabs[1])).run_id
        attacks = [
            ("RegisterNode", RegisterNodeRequest(public_key=public_key_to_bytes(sybil))),
            ("UnregisterNode", UnregisterNodeRequest(node_id=int(federation.ids["honest"]))),
            ("StopRun", StopRunRequest(run_id=run_id)),
            ("StartRun", StartRunRequest(fab=fabs[0])),
        ]
        wait_until(loot[1].exists, "submitted code read server.key", 90)
        assert loot[1].read_bytes() == server_key

        before, seen = state(operator), len(arrivals(federation))
        for name, message in attacks:
            with pytest.raises(httpx.HTTPStatusError) as error:
                getattr(rogue.control(), name)(message)
            assert error.value.response.status_code == 404, name
        assert arrivals(federation)[seen:] == []
        assert state(operator) == before
        assert before[1][run_id].startswith("running")
        assert not loot[0].exists()

        for name, message in attacks[:3]:
            getattr(inside.control(), name)(message)
        nodes, runs = state(operator)
        assert federation.ids["honest"] not in nodes
        assert len(nodes) == len(before[0])
        assert runs[run_id] == "finished:stopped"
        loot[1].unlink()


def state(operator):
    """The ids of the registered nodes, and of the runs with their status."""
    nodes = operator.ListNodes(ListNodesRequest()).nodes_info
    runs = operator.ListRuns(ListRunsRequest()).run_dict
    status = {i: f"{run.status.status}:{run.status.sub_status}" for i, run in runs.items()}
    return {str(n.node_id) for n in nodes if n.status != "unregistered"}, status


def theft(folder, federation, loot):
    """An app that reads the SuperLink's private key."""
    (folder / "theft").mkdir(parents=True)
    (folder / "pyproject.toml").write_text(APP)
    (folder / "theft" / "__init__.py").touch()
    key = federation.folder / "superlink" / "server.key"
    (folder / "theft" / "app.py").write_text(CODE.format(loot=str(loot), key=str(key)))
    return Fab(content=build_fab_from_disk(folder))


class AnotherDoor:
    """A context with another door to the same SuperLink. It gives the door's address."""

    def __init__(self, federation, folder=None, **settings):
        (port,) = free_ports(1)
        self.home = Path(tempfile.mkdtemp(prefix="door-"))
        self.address = f"localhost:{port}"
        folder = folder or federation.folder / "door"
        env = federation.env | settings | {"DOOR_PORT": str(port), "DOOR_HOME": str(self.home)}
        command = [str(SCRIPTS / "door.sh"), str(folder)]
        self.process = Process(command, env, federation.folder / f"door-{port}.log")
        self.port = port

    def __enter__(self):
        wait_until(self.answers, "the door opened", 30)
        return self.address

    def answers(self):
        assert self.process.running, self.process.tail()
        try:
            socket.create_connection(("127.0.0.1", self.port)).close()
        except OSError:
            return False
        return True

    def __exit__(self, *_):
        self.process.stop()
        shutil.rmtree(self.home)


HOST = b"Host: localhost\r\nContent-Type: application/protobuf\r\n"
END = b"Content-Length: 0\r\n\r\n"
CONTROL = b"/v1/control/list-nodes"
FLEET = b"/v1/fleet/pull-messages"


def spellings():
    """Requests that some server could take for a request of the operator, or of a node."""
    targets = [
        CONTROL,
        b"/" + CONTROL,
        b"/v1/./control/list-nodes",
        b"/v1/fleet/../control/list-nodes",
        b"/v1/fleet/%2e%2e/control/list-nodes",
        b"/v1/fleet/..%2fcontrol/list-nodes",
        b"/v1/fleet/..;/control/list-nodes",
        b"/v1%2fcontrol%2flist-nodes",
        b"/V1/Control/list-nodes",
        b"/\\..\\v1/control/list-nodes",
        FLEET + b"/../../control/list-nodes",
        FLEET + b"/",
        FLEET + b"?",
        FLEET + b"?x=1",
        FLEET + b"#x",
        FLEET + b";x",
        FLEET + b"%20",
        FLEET + b"%00",
        FLEET + b"%0d%0aX:%20y",
        FLEET + b"\x00",
        FLEET + b"\x0b",
        FLEET + b" ",
        b" " + FLEET,
        FLEET + b"\tx",
        b"/" + FLEET,
        b"/v1//fleet/pull-messages",
        b"/v1/fleet/./pull-messages",
        b"/v1/fleet/x/../pull-messages",
        b"/v1/fleet/%70ull-messages",
        b"/v1/fleet/Pull-messages",
        b"/v1/fleet/",
        b"/flwr.proto.Control/ListNodes",
        b"https://localhost" + FLEET,
        b"http://localhost:9000" + CONTROL,
        b"*",
        b"localhost:9000",
        b"/" * 9000,
    ]
    requests = {t: b"POST " + t + b" HTTP/1.1\r\n" + HOST + END for t in targets}
    versions = [b"HTTP/1.0", b"HTTP/2.0", b"HTTP/0.9", b"HTTP/1.2", b"HTTP/3.0", b"http/1.1", b""]
    requests |= {v: b"POST " + FLEET + b" " + v + b"\r\n" + HOST + END for v in versions}
    methods = [b"GET", b"post", b"CONNECT", b"PRI", b"PROPFIND", b"POSTX"]
    requests |= {m: m + b" " + FLEET + b" HTTP/1.1\r\n" + HOST + END for m in methods}
    control, upgrade = (
        b"POST " + CONTROL + b" HTTP/1.1\r\n",
        b"Connection: Upgrade\r\nUpgrade: h2c\r\n",
    )
    return requests | {
        b"HTTP/0.9": b"GET /docs\r\n",
        b"preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
        b"upgrade to HTTP/2": control + upgrade + HOST + END,
        b"no host": control + END,
        b"two hosts": control + HOST + b"Host: 127.0.0.1:9000\r\n" + END,
        b"a path as host": control + b"Host: localhost/v1/fleet/pull-messages\r\n" + END,
        b"lines end early": control.replace(b"\r", b"") + b"Host: localhost\nContent-Length: 0\n\n",
        b"a large body": control + HOST + b"Content-Length: 90000000\r\n\r\n",
        b"a body that waits": control + HOST + b"Expect: 100-continue\r\nContent-Length: 9\r\n\r\n",
        b"large headers": control + HOST + b"X: " + b"x" * 60000 + b"\r\n" + END,
        b"noise": b"\x16\x03\x01\x02\x00\r\n\r\n",
    }


def smuggled():
    """Requests that hold another request. Servers that disagree about where the first one ends run both."""
    inner = b"POST " + CONTROL + b" HTTP/1.1\r\n" + HOST + END
    size, chunked = b"Content-Length: %d\r\n" % len(inner), b"Transfer-Encoding: chunked\r\n"
    last = b"0\r\n\r\n"
    headers = {
        "length and chunks": size + chunked + b"\r\n" + last + inner,
        "chunks and length": chunked
        + b"Content-Length: 4\r\n\r\n%x\r\n" % len(inner)
        + inner
        + last,
        "two lengths": b"Content-Length: 0\r\n" + size + b"\r\n" + inner,
        "an unknown encoding": b"Transfer-Encoding: xchunked\r\n\r\n" + last + inner,
        "two encodings": b"Transfer-Encoding: chunked, identity\r\n\r\n" + last + inner,
        "a space in the name": b"Transfer-Encoding : chunked\r\n" + size + b"\r\n" + inner,
        "a folded line": b"Transfer-Encoding:\r\n chunked\r\n" + size + b"\r\n" + inner,
        "a signed length": b"Content-Length: +0\r\n\r\n" + inner,
        "a negative length": b"Content-Length: -1\r\n\r\n" + inner,
        "a length beyond all": b"Content-Length: 99999999999999999999\r\n\r\n" + inner,
        "a chunk beyond all": chunked + b"\r\n10000000000000000\r\n" + inner,
        "no chunk": chunked + b"\r\nzz\r\n" + inner,
        "a chunk's extension": chunked + b"\r\n0;x=\r\n\r\n" + inner,
        "a trailer": chunked + b"\r\n0\r\nHost: x\r\n\r\n" + inner,
        "a byte of zero": b"X: a\x00b\r\n" + END + inner,
        "a lone return": b"X: a\rY: b\r\n" + END + inner,
        "one after the other": END + inner,
        "another address": b"X-Original-URL: " + CONTROL + b"\r\nX-Accel-Redirect: /docs\r\n" + END,
        "another method": b"X-HTTP-Method-Override: GET\r\n" + END,
        "headers to leave out": b"Connection: close, host, content-type\r\n" + END,
    }
    return {n: b"POST " + FLEET + b" HTTP/1.1\r\n" + HOST + h for n, h in headers.items()}


def door(folder, *arguments, **settings):
    """Run door.sh so that it starts nothing, and return its outcome."""
    env = os.environ | settings | {"DOOR_HOME": str(folder / "home")}
    command = [SCRIPTS / "door.sh", *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True)


@needs_nginx
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DOOR_PORT", "0"),
        ("DOOR_PORT", "70000"),
        ("SUPERLINK_PORT", "9000; return 200"),
        ("DOOR_RATE", "-1"),
        ("DOOR_CONNECTIONS", "many"),
        ("DOOR_HOST", "0.0.0.0; }"),
    ],
)
def test_settings_of_the_door_are_checked(tmp_path, name, value):
    for file in ("ca.crt", "server.pem", "server.key"):
        (tmp_path / file).touch()
    done = door(tmp_path, tmp_path, "-t", **{name: value})
    assert done.returncode == 2
    assert name in done.stderr
    assert f"found '{value}'" in done.stderr
    assert not (tmp_path / "home" / "door.conf").exists()


@needs_nginx
def test_the_door_needs_certificates_and_a_path_that_nginx_can_read(tmp_path):
    done = door(tmp_path, tmp_path, "-t")
    assert done.returncode == 2
    assert f"{tmp_path}/ca.crt cannot be read. Make it with make-certificates.sh" in done.stderr
    odd = tmp_path / 'a"b;c'
    make = [SCRIPTS / "make-certificates.sh", tmp_path / "ca", odd, "localhost"]
    subprocess.run(make, check=True, capture_output=True)
    done = door(tmp_path, odd, "-t")
    assert done.returncode == 2
    assert "Choose another path" in done.stderr
    odd.rename(tmp_path / "a folder")
    done = door(tmp_path, tmp_path / "a folder", "-t", DOOR_HOST="::1")
    assert done.returncode == 0, done.stderr
    settings = (tmp_path / "home" / "door.conf").read_text()
    assert "listen [::1]:9092 ssl" in settings
    assert not re.search("@[A-Z]+@", settings)


@needs_nginx
@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts nginx for another user")
def test_the_door_warns_if_its_user_cannot_keep_large_requests(tmp_path):
    folder = tmp_path / "door"
    make = [SCRIPTS / "make-certificates.sh", tmp_path / "ca", folder, "localhost"]
    subprocess.run(make, check=True, capture_output=True)
    tmp_path.chmod(0o700)
    assert f"www-data cannot enter {tmp_path}/home" in door(tmp_path, folder, "-t").stderr
    with tempfile.TemporaryDirectory() as reachable:
        Path(reachable).chmod(0o755)
        done = door(Path(reachable), folder, "-t")
    assert done.returncode == 0
    assert "WARNING" not in done.stderr


def test_a_superlink_that_nodes_reach_is_warned_of(tmp_path):
    (tmp_path / "flower-superlink").touch(mode=0o755)
    (tmp_path / "python").write_text("#!/bin/sh\nexit 0\n")
    (tmp_path / "python").chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    hosts = {"127.0.0.1": False, "::1": False, "localhost": False, "0.0.0.0": True, "::": True}
    for host, warned in hosts.items():
        for flags in (["--host", host], [f"--host={host}"], []):
            told = "127.0.0.1" if flags else host
            env = os.environ | {"PATH": path, "SUPERLINK_HOST": told}
            command = [SCRIPTS / "superlink.sh", tmp_path, *flags]
            done = subprocess.run(command, env=env, check=True, capture_output=True, text=True)
            assert ("WARNING" in done.stderr) is warned
            assert ("let nodes in by door.sh" in done.stderr) is warned
