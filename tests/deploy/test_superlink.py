"""What our SuperLink changes in Flower's: nodes that speak for others, and `database is locked`."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import pytest
from fastapi import HTTPException
from flwr.proto.fleet_pb2 import PushMessagesRequest
from flwr.proto.message_pb2 import ConfirmMessageReceivedRequest, Message, Metadata
from flwr.proto.node_pb2 import Node
from flwr.supercore import sql_mixin
from flwr.supercore.object_store.sql_object_store import SqlObjectStore
from sqlalchemy.exc import OperationalError

from deploy.superlink import main, speak_for_yourself, wait_in_line

PATIENCE = 200  # milliseconds; Flower's own is 5 s


class Database(SqlObjectStore):
    """A part of a SuperLink's database with Flower's own sessions."""


class Queued(SqlObjectStore):
    """The same part with threads that wait in line."""


wait_in_line(Queued)


def opened(kind, folder, monkeypatch):
    """A database whose connections give up sooner."""
    pragmas = [(n, PATIENCE if n == "busy_timeout" else v) for n, v in sql_mixin.SQLITE_PRAGMAS]
    monkeypatch.setattr(sql_mixin, "SQLITE_PRAGMAS", pragmas)
    database = kind(str(folder / "state.db"))
    database.initialize()
    return database


def insert(database, number):
    database.query(
        "INSERT INTO objects (object_id, content, is_available, ref_count) VALUES (:id, '', 0, 0)",
        {"id": str(number)},
    )


def write_meanwhile(database):
    """Write while another thread's transaction takes longer than the patience. Return the outcome."""
    started, done = threading.Event(), []

    def slow():
        with database.session():
            insert(database, 1)
            started.set()
            time.sleep(4 * PATIENCE / 1000)

    def other():
        started.wait()
        try:
            insert(database, 2)
            done.append("written")
        except OperationalError as error:
            done.append(str(error))

    threads = [threading.Thread(target=work) for work in (slow, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return done[0]


def test_flower_gives_up_where_another_transaction_takes_long(tmp_path, monkeypatch):
    """If this fails, Flower waits by itself, and superlink.py is not needed any more."""
    outcome = write_meanwhile(opened(Database, tmp_path, monkeypatch))
    assert "database is locked" in outcome


def test_ours_waits_in_line(tmp_path, monkeypatch):
    database = opened(Queued, tmp_path, monkeypatch)
    assert write_meanwhile(database) == "written"
    with database.session(), database.session():  # Flower's own code opens a session within another
        insert(database, 3)
    assert len(database.query("SELECT object_id FROM objects")) == 3


@pytest.mark.parametrize("kind", [Database, Queued])
def test_what_fails_is_taken_back(kind, tmp_path, monkeypatch):
    database = opened(kind, tmp_path, monkeypatch)

    def failing():
        with database.session():
            insert(database, 1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing()
    assert database.query("SELECT object_id FROM objects") == []


def handlers():
    """Handlers that accept everything, after `speak_for_yourself` changed them."""
    passed = SimpleNamespace(
        push_messages=lambda request, state: "stored",
        confirm_message_received=lambda request, state, store: "confirmed",
    )
    speak_for_yourself(passed)
    return passed


@pytest.mark.parametrize(("sender", "refused"), [(7, False), (8, True), (1, True), (0, True)])
def test_a_node_sends_messages_in_its_own_name(sender, refused):
    """The SuperLink's own id is 1, and its messages are work for other nodes."""
    own = Message(metadata=Metadata(src_node_id=7))
    other = Message(metadata=Metadata(src_node_id=sender))
    for messages in ([other], [own, other]):
        request = PushMessagesRequest(node=Node(node_id=7), messages_list=messages)
        if refused:
            with pytest.raises(HTTPException) as error:
                handlers().push_messages(request=request, state=None)
            assert error.value.status_code == 401
        else:
            assert handlers().push_messages(request=request, state=None) == "stored"


@pytest.mark.parametrize("node", [7, 2**64 - 7])
def test_a_node_confirms_messages_to_itself(node):
    receivers = {"mine": node - 2**64 if node >= 2**63 else node, "another's": 8}
    state = SimpleNamespace(
        get_valid_message_ins=lambda i: {"dst_node_id": receivers[i]} if i in receivers else None
    )

    def confirm(message):
        request = ConfirmMessageReceivedRequest(node=Node(node_id=node), message_object_id=message)
        return handlers().confirm_message_received(request=request, state=state, store=None)

    assert confirm("mine") == "confirmed"
    assert confirm("unknown") == "confirmed"
    with pytest.raises(HTTPException) as error:
        confirm("another's")
    assert error.value.status_code == 401


def test_another_flower_is_warned_of(monkeypatch, capsys):
    """Another version of Flower lacks the places to change. A warning says so, and the program starts."""
    started = SimpleNamespace(name="flower-superlink", load=lambda: lambda: None)
    monkeypatch.setattr("deploy.superlink.entry_points", lambda **_: [started])
    monkeypatch.setattr("sys.argv", ["superlink.py"])
    monkeypatch.setattr("deploy.superlink._handlers", lambda: SimpleNamespace())
    monkeypatch.setattr("deploy.superlink._database", lambda: SimpleNamespace())
    with pytest.raises(SystemExit):
        main()
    said = capsys.readouterr().err
    assert said.count("WARNING: This is another version of Flower") == 2
    assert "may answer for each other" in said
    assert "database is locked" in said
