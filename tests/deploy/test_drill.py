"""A federation of real processes with TLS and keys, and the verdict of its drill."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from deploy.drill import federation
from deploy.drill.drill import Drill
from deploy.drill.federation import SCRIPTS, Federation
from deploy.drill.processes import DrillError, Process, descendants, processes
from deploy.drill.scenario import OFFENDERS, SCENARIOS, SHORT
from deploy.drill.verdict import Evidence, judge
from flwr_byzantine.audit import AuditRecord

REPOSITORY = Path(__file__).resolve().parents[2]
IDS = {name: str(100 + i) for i, name in enumerate(SHORT.nodes)}
NGINX = shutil.which("nginx", path=os.pathsep.join([os.environ["PATH"], "/usr/sbin"]))
needs_nginx = pytest.mark.skipif(NGINX is None, reason="nginx is missing: apt-get install nginx")
VERDICTS = {"honest": "kept", "malformed": "dropped", "sign-flip": "trimmed"}


def evidence(**changes):
    """The evidence of a short drill in which all is well."""
    records = [
        AuditRecord(r, IDS[name], VERDICTS[role], reason="shape" if role == "malformed" else None)
        for r in range(1, SHORT.rounds + 1)
        for name, role in SHORT.nodes.items()
        if (name, r) != (SHORT.terminated, 3)
    ]
    good = Evidence(
        status="finished:completed",
        healthy=True,
        records=records,
        accuracy=json.dumps({"0": 0.1, str(SHORT.rounds): 0.9}),
        ids=IDS,
        sessions={name: [node_id] for name, node_id in IDS.items()},
    )
    return replace(good, **changes)


def without(name, *rounds):
    """The records without those of a node in some rounds."""
    gone = {(IDS[name], r) for r in rounds}
    return [r for r in evidence().records if (r.client, r.round) not in gone]


def verdicts(name, verdict):
    """The records with another verdict on a node."""
    return [replace(r, verdict=verdict) if r.client == IDS[name] else r for r in evidence().records]


def test_the_verdict_on_a_federation_that_withstood():
    findings = judge(SHORT, evidence())
    assert "node-0 (sign-flip): 6 of 6 replies rejected" in findings
    assert "node-2 (honest): 0 of 5 replies rejected" in findings


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"status": "finished:failed"}, "finished:failed"),
        ({"healthy": False}, "does not answer"),
        ({"records": [r for r in evidence().records if r.round > 2]}, "4 of 6 rounds"),
        ({"accuracy": json.dumps({"6": 0.5})}, "0.500 after"),
        ({"records": verdicts("node-0", "kept")}, "node-0"),
        ({"records": verdicts("node-1", "trimmed")}, "node-1"),
        ({"records": verdicts("node-3", "trimmed")}, "node-3"),
        ({"records": without("node-2", 4, 5, 6)}, "absent in rounds [3, 4, 5, 6]"),
        ({"records": [*evidence().records, AuditRecord(1, "7", "kept")]}, "1 replies of nodes"),
        ({"sessions": {**evidence().sessions, "node-2": ["102", "999"]}}, "let in 2 times"),
    ],
)
def test_whatever_is_wrong_fails_the_drill(changes, wrong):
    with pytest.raises(DrillError) as error:
        judge(SHORT, evidence(**changes))
    assert wrong in str(error.value)


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
def test_the_bounds_hold_while_nodes_are_down(scenario):
    roles = scenario.nodes.values()
    malformed = sum(role == "malformed" for role in roles)
    offenders = sum(role in OFFENDERS for role in roles)
    down = max(bool(scenario.terminated), bool(scenario.killed) + bool(scenario.frozen))
    assert offenders <= scenario.assumed
    assert len(roles) - malformed - down >= 2 * scenario.assumed + 1
    for name in (scenario.terminated, scenario.killed, scenario.frozen):
        assert name is None or scenario.nodes[name] == "honest"


def test_ending_a_process_ends_what_it_started_and_nothing_else(tmp_path):
    bystander = subprocess.Popen(["sleep", "60"])
    script = "trap '' TERM; sleep 60 & echo $!; wait; wait"
    process = Process(["bash", "-c", script], os.environ, tmp_path / "log")
    while not (tmp_path / "log").read_text().endswith("\n"):
        time.sleep(0.05)
    child = int((tmp_path / "log").read_text())
    process.freeze()
    process.kill()
    end = time.monotonic() + 5
    while Path(f"/proc/{child}").exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert not Path(f"/proc/{child}").exists()
    assert not process.running
    process.stop()
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()


def test_ending_a_process_ends_what_leads_a_group_of_its_own(tmp_path):
    script = "setsid sleep 60 & wait"
    process = Process(["bash", "-c", script], os.environ, tmp_path / "log")
    while not (found := descendants(process._popen.pid)):
        time.sleep(0.05)
    (child,) = found
    while "sleep" not in Path(f"/proc/{child}/comm").read_text():
        time.sleep(0.05)
    process.stop()
    end = time.monotonic() + 5
    while child in processes() and time.monotonic() < end:
        time.sleep(0.05)
    assert child not in processes()


def test_a_drill_whose_time_is_over_says_so(tmp_path):
    drill = Drill(SHORT, "message", tmp_path, limit=0.5)
    drill.watch = SimpleNamespace(tell=lambda: None)
    drill.federation = SimpleNamespace(superlink=SimpleNamespace(running=True))
    with pytest.raises(DrillError, match=r"over before the run ended: 0 s.*--limit"):
        drill._wait(lambda: False, "the run ended")
    drill.end += 60
    with pytest.raises(DrillError, match="waited 0 s in vain until the run ended"):
        drill._wait(lambda: False, "the run ended", patience=0.1)


def test_a_command_that_takes_too_long_ends_the_drill_with_a_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(federation, "PATIENCE", 0.2)
    with pytest.raises(DrillError, match=r"^sleep 60 took more than 0 s\. .*run the drill again"):
        Federation(tmp_path, {})._run("sleep", "60")


def test_certificates_are_valid_for_the_names_given(tmp_path):
    ca, server = tmp_path / "ca", tmp_path / "server"
    command = [
        SCRIPTS / "make-certificates.sh",
        ca,
        server,
        "superlink.example",
        "127.0.0.1",
        "::1",
    ]
    subprocess.run(command, check=True, capture_output=True)
    authority = (ca / "ca.crt").read_bytes()
    subprocess.run(command, check=True, capture_output=True)
    assert (ca / "ca.crt").read_bytes() == authority == (server / "ca.crt").read_bytes()
    verify = ["openssl", "verify", "-CAfile", ca / "ca.crt"]
    for host in (["-verify_hostname", "superlink.example"], ["-verify_ip", "127.0.0.1"]):
        subprocess.run([*verify, *host, server / "server.pem"], check=True, capture_output=True)
    other = [*verify, "-verify_hostname", "other.example", server / "server.pem"]
    assert subprocess.run(other, capture_output=True).returncode
    for secret in (ca / "ca.key", server / "server.key"):
        assert secret.stat().st_mode & 0o077 == 0


def test_node_keys_are_never_replaced(tmp_path):
    command = [SCRIPTS / "make-node-keys.sh", tmp_path, "hospital-a"]
    subprocess.run(command, check=True, capture_output=True)
    key = (tmp_path / "hospital-a").read_bytes()
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 1
    assert "there already" in again.stderr
    assert (tmp_path / "hospital-a").read_bytes() == key


def test_connections_are_added_once(tmp_path):
    (tmp_path / "ca.crt").touch()
    command = [SCRIPTS / "add-connection.sh", "mine", "localhost:9000", tmp_path / "ca.crt"]
    env = os.environ | {"FLWR_HOME": str(tmp_path / "home")}
    assert subprocess.run(command, env=env, capture_output=True).returncode == 0
    assert subprocess.run(command, env=env, capture_output=True).returncode == 1
    text = (tmp_path / "home" / "config.toml").read_text()
    assert text.count("[superlink.mine]") == 1
    assert f'root-certificates = "{tmp_path}/ca.crt"' in text


def test_keep_running_tries_again_until_the_command_succeeds_or_it_is_told_to_stop(tmp_path):
    env = os.environ | {"PAUSE": "0.1"}
    script = f"echo x >> {tmp_path}/tries; [ $(wc -l < {tmp_path}/tries) = 3 ]"
    command = [SCRIPTS / "keep-running.sh", "bash", "-c"]
    subprocess.run([*command, script], env=env, check=True, timeout=20, capture_output=True)
    assert (tmp_path / "tries").read_text() == "x\n" * 3
    script = f"trap 'echo bye > {tmp_path}/bye; exit 0' TERM; touch {tmp_path}/up; sleep 30 & wait"
    running = subprocess.Popen([*command, script], env=env)
    while not (tmp_path / "up").exists():
        time.sleep(0.05)
    running.send_signal(signal.SIGTERM)
    assert running.wait(10) == 0
    assert (tmp_path / "bye").exists()


def test_scripts_tell_how_they_are_used():
    for script in SCRIPTS.glob("*.sh"):
        done = subprocess.run([script], capture_output=True, text=True)
        assert done.returncode == 2
        assert f"Usage: {script.name}" in done.stderr


def test_units_and_containers_run_the_scripts_and_start_again_what_dies():
    containers = yaml.safe_load((SCRIPTS / "compose.yaml").read_text())["services"]
    for name, service in containers.items():
        assert (SCRIPTS / service["command"][0]).exists() or name == "server"
        assert service["restart"] == "always"
        assert all("ca.key" not in volume for volume in service.get("volumes", ()))
    units = list((SCRIPTS / "systemd").glob("*.service"))
    assert len(units) == 3
    for unit in units:
        (start,) = re.findall(
            r"^ExecStart=/opt/flower/deploy/(\S+)", unit.read_text(), re.MULTILINE
        )
        assert (SCRIPTS / start).exists()
        assert "Restart=always" in unit.read_text()
        assert "StartLimitIntervalSec=0" in unit.read_text()


def test_only_the_door_listens_to_the_network():
    containers = yaml.safe_load((SCRIPTS / "compose.yaml").read_text())["services"]
    server, link, door = (containers[name] for name in ("server", "superlink", "door"))
    assert [service for service in containers.values() if "ports" in service] == [server]
    assert server["ports"] == ["9092:9092"]
    assert link["environment"]["SUPERLINK_HOST"] == "127.0.0.1"
    assert door["environment"]["DOOR_PORT"] == "9092"
    assert link["network_mode"] == door["network_mode"] == "service:server"
    assert link["environment"]["SUPERLINK_PORT"] == door["environment"]["SUPERLINK_PORT"]
    nodes = [service for name, service in containers.items() if name.startswith("node-")]
    assert all("superlink:9092" in node["command"] for node in nodes)
    # No container of the server holds a node's private key, and the SuperLink's does not hold the door's.
    assert all(v.endswith(".pub:ro") for v in link["volumes"] if "nodes" in v)
    assert not any("door" in volume for volume in link["volumes"])
    units = SCRIPTS / "systemd"
    assert "SUPERLINK_HOST=127.0.0.1" in (units / "flower-superlink.service").read_text()
    assert "DOOR_HOST=0.0.0.0" in (units / "flower-door.service").read_text()
    assert "User=flower-door" in (units / "flower-door.service").read_text()


def test_images_and_packages_are_pinned():
    text = (SCRIPTS / "Dockerfile").read_text()
    images = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert len(images) == 2
    assert all(re.fullmatch(r"python:3\.11-\S+@sha256:[0-9a-f]{64}", image) for image in images)
    assert "-c /tmp/constraints.txt" in text
    for script in ("superlink.sh", "supernode.sh", "door.sh"):
        assert (SCRIPTS / script).exists()
    for file in re.findall(r"deploy/(\w+\.\w+)", text.partition("COPY deploy/")[2]):
        assert (SCRIPTS / file).exists()


@pytest.mark.slow
@pytest.mark.superlink
@pytest.mark.timeout(600)
@needs_nginx
@pytest.mark.parametrize("api", ["message", "legacy"])
def test_the_short_drill_behind_the_door(api, tmp_path):
    command = [sys.executable, "-m", "deploy.drill", "--short", "--api", api, "--limit", "500"]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as drill:
        lines = []
        for line in drill.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    assert drill.returncode == 0, "".join(lines)
    assert "its door at localhost:" in lines[0]


def belonging_to(folder):
    """The process ids of all programs whose environment names a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if str(folder).encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:  # it ended, or belongs to another user
            continue
    return found


@pytest.mark.slow
@pytest.mark.superlink
@pytest.mark.timeout(240)
@needs_nginx
def test_an_interrupted_drill_leaves_nothing_running(tmp_path):
    folder = tmp_path / "kept"
    command = [sys.executable, "-m", "deploy.drill", "--short", "--keep", folder]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as drill:
        for line in drill.stdout:
            if found := re.search(r"its door at localhost:(\d+)", line):
                entrance = ("localhost", int(found[1]))
                socket.create_connection(entrance).close()
            if "all nodes are connected" in line:
                assert len(belonging_to(folder)) > len(SHORT.nodes)
                drill.send_signal(signal.SIGTERM)
    assert drill.returncode == 1
    end = time.monotonic() + 60
    while belonging_to(folder) and time.monotonic() < end:
        time.sleep(1)
    assert belonging_to(folder) == []
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(entrance)
