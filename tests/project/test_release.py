"""What has to agree between files when a version is released."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

REPOSITORY = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]


def pins(file):
    """Name and version of each line ``name==version``."""
    lines = (REPOSITORY / file).read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def test_the_lowest_versions_are_those_that_we_declare():
    declared = {r.name: r.specifier for r in map(Requirement, PROJECT["dependencies"])}
    lowest = {
        name: next(s.version for s in bounds if s.operator == ">=")
        for name, bounds in declared.items()
    }
    pinned = pins("constraints-lowest.txt")
    assert {name: re.sub(r"(\.0)+$", "", v) for name, v in pinned.items()} == {
        name: re.sub(r"(\.0)+$", "", v) for name, v in lowest.items()
    }


def test_the_exact_set_is_within_what_we_declare():
    pinned = {name.lower(): version for name, version in pins("constraints.txt").items()}
    groups = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    for requirement in (Requirement(text) for group in groups for text in group):
        if requirement.name != PROJECT["name"]:
            assert requirement.specifier.contains(pinned[requirement.name.lower()]), requirement


def test_the_version_is_the_same_everywhere():
    citation = (REPOSITORY / "CITATION.cff").read_text()
    assert re.search(r"(?m)^version: (\S+)$", citation)[1] == PROJECT["version"]
    changes = re.findall(r"(?m)^## \[([^\]]+)\]", (REPOSITORY / "CHANGELOG.md").read_text())
    assert changes[0] == "Unreleased"
    assert changes[1:2] in ([], [PROJECT["version"]])
