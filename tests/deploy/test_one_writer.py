"""`database is locked`: why a SuperLink says so, and that ours does not."""

from __future__ import annotations

import threading
import time

import pytest
from flwr.supercore import sql_mixin
from flwr.supercore.object_store.sql_object_store import SqlObjectStore
from sqlalchemy.exc import OperationalError

from deploy.one_writer import wait_in_line

PATIENCE = 200  # milliseconds; Flower's own is 5 s


class Database(SqlObjectStore):
    """Part of a SuperLink's database: the sessions of Flower's own class stay as they are."""


class Queued(SqlObjectStore):
    """The same, in which threads wait in line."""


wait_in_line(Queued)


def opened(kind, folder, monkeypatch):
    """A database whose connections lose their patience sooner."""
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
    """Write while another thread's transaction goes on for longer than the patience; what became of it."""
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
    """If this fails, Flower waits by itself, and one_writer.py is not needed any more."""
    outcome = write_meanwhile(opened(Database, tmp_path, monkeypatch))
    assert "database is locked" in outcome


def test_ours_waits_in_line(tmp_path, monkeypatch):
    database = opened(Queued, tmp_path, monkeypatch)
    assert write_meanwhile(database) == "written"
    with database.session(), database.session():  # one within another, as Flower's own code does
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
