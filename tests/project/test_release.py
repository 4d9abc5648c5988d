"""Files that have to agree when a version is released."""

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
WORKFLOWS = sorted((REPOSITORY / ".github" / "workflows").glob("*.yml"))
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]


def pins(file):
    """The name and version of each line ``name==version``."""
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
    assert changes[:2] == ["Unreleased", PROJECT["version"]]
    assert flwr_byzantine.__version__ == PROJECT["version"]
    for page in ("README.md", "docs/stress.md", "docs/doctor.md", "docs/tutorials/first-swap.md"):
        text = (REPOSITORY / page).read_text()
        for version in re.findall(r"flwr[_-]byzantine[- ](\d[\d.]*\d)", text):
            assert version == PROJECT["version"], page


def test_each_part_of_a_version_in_the_changelog_is_of_a_known_kind():
    text = (REPOSITORY / "CHANGELOG.md").read_text()
    newest = re.split(r"(?m)^## \[", text)[2]
    assert newest.startswith(f"{PROJECT['version']}] - ")
    assert re.findall(r"(?m)^### (.+)$", newest) == ["Added", "Changed", "Removed", "Fixed"]


def jobs(path):
    """Name -> job, for a workflow."""
    return yaml.safe_load(path.read_text())["jobs"]


def commands(path):
    """The commands of a workflow's steps."""
    steps = [step for job in jobs(path).values() for step in job["steps"]]
    return "\n".join(step.get("run", "") for step in steps)


def targets(text):
    """The targets in the `make` commands of a text."""
    return set(re.findall(r"(?m)^make ([\w-]+)$", text))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_target_that_a_workflow_makes_is_in_the_makefile(path):
    known = re.findall(r"(?m)^([\w-]+):", (REPOSITORY / "Makefile").read_text())
    assert targets(commands(path))
    assert targets(commands(path)) <= set(known)


def test_hosted_ci_makes_what_our_own_ci_makes():
    ours = targets((REPOSITORY / ".ci" / "run").read_text())
    hosted = targets(commands(REPOSITORY / ".github" / "workflows" / "ci.yml"))
    parts = {"dist", "test-newest"}  # of `test-wheel`, once more with a newer Python
    assert hosted == ours | parts


def test_hosted_ci_tests_every_python_that_we_name():
    named = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
    assert named == ["3.11", "3.12", "3.13", "3.14"]
    (job,) = (
        job
        for job in jobs(REPOSITORY / ".github" / "workflows" / "ci.yml").values()
        if "python" in job.get("strategy", {}).get("matrix", {})
    )
    assert job["strategy"]["matrix"]["python"] == named
    assert "make test" in [step.get("run") for step in job["steps"]]
    assert named[0] == PROJECT["requires-python"].removeprefix(">=")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_knows_no_secret_and_publishes_only_what_has_a_tag(path):
    text = path.read_text()
    assert "secrets." not in text
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        if "permissions" in job or any("release" in s.get("run", "") for s in job["steps"]):
            assert job["if"] == "startsWith(github.ref, 'refs/tags/v')"


def test_the_command_line_prints_the_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == PROJECT["version"]


def test_authors_and_the_repository_are_the_same_everywhere():
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    assert [author["name"] for author in PROJECT["authors"]] == [
        author["name"] for author in citation["authors"]
    ]
    assert citation.get("repository-code") == PROJECT["urls"].get("Repository")
    assert (
        "repo_url" not in (REPOSITORY / "mkdocs.yml").read_text()
    )  # a hook takes it from pyproject.toml


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
