"""``python -m flwr_byzantine doctor``: its lines and its exit code."""

from importlib import metadata

import pytest

from flwr_byzantine import rules
from flwr_byzantine.commands import doctor
from flwr_byzantine.commands.cli import main
from flwr_byzantine.kernels import compiled, reference


def found(capsys):
    """The exit code, and the lines by their mark."""
    code = main(["doctor"])
    lines = capsys.readouterr().out.splitlines()
    return code, {mark: [x for x in lines if x.startswith(mark)] for mark in ("ok", "note", "FAIL")}


def test_this_installation_works(capsys):
    code, lines = found(capsys)
    assert code == 0
    assert not lines["FAIL"]
    text = "\n".join(lines["ok"])
    for name in ("flwr", "numpy"):
        assert f"{name} {metadata.version(name)}" in text
    for word in ("torch", "ray", "aggregate_fit API", "Message API", "threads", "right results"):
        assert word in text


def test_a_wrong_number_of_threads_is_essential(capsys, monkeypatch):
    monkeypatch.setenv("FLWR_BYZANTINE_NUM_THREADS", "many")
    code, lines = found(capsys)
    assert code == 1
    assert "FLWR_BYZANTINE_NUM_THREADS" in lines["FAIL"][0]


def test_wrong_results_are_essential(capsys, monkeypatch):
    monkeypatch.setattr(doctor, "KNOWN", ((rules.Mean(), [1, 2, 6], 4),))
    code, lines = found(capsys)
    assert code == 1
    assert "wrong results: Mean()" in lines["FAIL"][0]


def test_numpy_is_told_where_it_was_asked_for(capsys, monkeypatch):
    numpy_kernels = compiled.Choice(reference, "numpy")
    monkeypatch.setattr(doctor, "choice", lambda: numpy_kernels)
    code, lines = found(capsys)
    assert code == 0
    assert "FLWR_BYZANTINE_KERNELS asks for it" in lines["note"][0]


@pytest.mark.parametrize(
    ("needed", "mark", "code"),
    [
        ("no-such-distribution>=1", "FAIL", 1),
        ("numpy>=1000", "note", 0),
        ("torch>=1000; extra == 'torch'", None, 0),
    ],
)
def test_dependencies(needed, mark, code, capsys, monkeypatch):
    monkeypatch.setattr(metadata, "requires", lambda name: [needed])
    ended, lines = found(capsys)
    assert ended == code
    assert lines["FAIL"] + lines["note"] == (lines[mark] if mark else [])
    if mark:
        assert f"pip install '{needed}'" in lines[mark][0]


def test_a_source_tree_that_is_not_installed_is_no_fault(capsys, monkeypatch):
    monkeypatch.setattr(doctor, "_version", lambda name: None)
    code, lines = found(capsys)
    assert code == 0
    assert "not installed as a package" in lines["note"][0]


@pytest.mark.parametrize(("missing", "code"), [(["Message"], 0), (["Message", "aggregate_fit"], 1)])
def test_one_server_api_is_enough(missing, code, capsys, monkeypatch):
    apis = {name: ("no.such.module", doctor.APIS[name][1]) for name in missing}
    monkeypatch.setattr(doctor, "APIS", doctor.APIS | apis)
    ended, lines = found(capsys)
    assert ended == code
    assert len(lines["note"]) == len(missing)
