"""What a result says about its machine and code, and what the report makes of it."""

import re

import pytest

from simulations.config import RunConfig
from simulations.federation.runner import run
from simulations.measure.provenance import commit, processor
from simulations.measure.summary import summarise

pytestmark = pytest.mark.torch


def test_a_machine_that_does_not_name_its_processor_names_its_kind(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor: 0\nmodel name\t: A fast one\n")
    assert processor(cpuinfo) == "A fast one"
    assert processor(tmp_path / "none")


def test_code_outside_git_has_no_commit(tmp_path):
    assert commit(tmp_path) is None


@pytest.mark.ray
def test_a_cell_keeps_where_it_comes_from():
    result = run(RunConfig(clients=3, rounds=1))
    kept = summarise(result, ())
    assert set(kept["provenance"]) == {"processor", "cores", "kernels", "commit", "date"}
    assert kept["provenance"]["cores"] >= 1
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", kept["provenance"]["date"])
    assert kept["seconds"] > 0
