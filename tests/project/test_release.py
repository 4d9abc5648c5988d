"""What has to agree between files when a version is released."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

import flwr_byzantine
from flwr_byzantine.commands.cli import main

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
    assert flwr_byzantine.__version__ == PROJECT["version"]


def test_the_command_line_prints_the_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == PROJECT["version"]


def test_authors_and_the_repository_are_the_same_everywhere():
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    assert [author["name"] for author in PROJECT["authors"]] == [
        author["name"] for author in citation["authors"]
    ]
    found = re.search(r"(?m)^repo_url: (\S+)", (REPOSITORY / "mkdocs.yml").read_text())
    named = PROJECT["urls"].get("Repository")
    assert citation.get("repository-code") == named
    assert (found and found[1]) == named


@pytest.mark.parametrize("repository", [None, "https://example.org/who/what/"])
def test_an_index_gets_a_readme_whose_links_work(tmp_path, repository):
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, tmp_path)
    head, urls, rest = (REPOSITORY / "pyproject.toml").read_text().partition("[project.urls]\n")
    rest = re.sub(r'\ARepository = ".*"\n', "", rest)
    line = f'Repository = "{repository}"\n' if repository else ""
    (tmp_path / "pyproject.toml").write_text(head + urls + line + rest)
    done = subprocess.run(
        [sys.executable, "setup.py", "-q", "--long-description"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    links = re.findall(r"\]\((.+?)\)", done.stdout)
    if repository is None:
        assert "docs/demo.svg" in links
        return
    assert "https://example.org/who/what/raw/HEAD/docs/demo.svg" in links
    assert "https://example.org/who/what/blob/HEAD/docs/operators.md#suspects" in links
    assert all(link.startswith(("https://", "#")) for link in links)
