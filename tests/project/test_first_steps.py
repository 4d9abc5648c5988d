"""The first commands of README.md do what it says. `make test-wheel` runs them with the wheel alone."""

import contextlib
import io
import re
import sys
from pathlib import Path

import pytest
from first_steps import MOST, attack, processor_seconds

REPOSITORY = next(p for p in Path(__file__).resolve().parents if (p / "pyproject.toml").exists())
README = (REPOSITORY / "README.md").read_text()
STRESS = re.compile(r"(?m)^ *pip install .*\n *flwr-byzantine stress ./my-flower-app ")


@pytest.mark.slow
def test_one_command_shows_an_app_broken_and_a_rule_that_holds(tmp_path):
    before = processor_seconds()
    printed = attack([sys.executable, "-m", "flwr_byzantine"], tmp_path)
    assert processor_seconds() - before < MOST
    assert "* is recommended" in printed
    assert {path.name for path in tmp_path.iterdir()} == {"my-flower-app", "stress"}


@pytest.mark.parametrize("page", ["README.md", "docs/stress.md"])
def test_pages_open_with_the_two_commands(page):
    text = (REPOSITORY / page).read_text()
    found = STRESS.search(text)
    assert found is not None
    assert text[: found.start()].count("\n") < 15
    assert "'flwr-byzantine[lab]'" in found[0]


def test_the_quick_start_prints_what_readme_says():
    block, printed = re.search(
        r"```python\n(.*?)```\n\n```text\n(.*?)```", README, re.DOTALL
    ).groups()
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(block, {})
    assert out.getvalue() == printed


def test_readme_is_short_and_its_links_lead_somewhere():
    assert README.count("\n") < 200
    headings = {
        heading.lower().replace(" ", "-") for heading in re.findall(r"(?m)^## (.+)$", README)
    }
    for page, _, anchor in (
        link.partition("#") for link in re.findall(r"\]\((?!\w+:)(.+?)\)", README)
    ):
        if not page:
            assert anchor in headings
        elif not page.startswith("docs/results/"):  # experiments write these, and may not have run
            assert (REPOSITORY / page).is_file(), page


def test_readme_has_the_scores_of_the_reproduction():
    report = (REPOSITORY / "docs/results/reproduction/README.md").read_text()
    papers = re.findall(r"(?m)^\| (.+?) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", README)
    assert len(papers) == 4
    for name, claims, *counts in papers:
        assert int(claims) == sum(map(int, counts))
        assert f"<summary><b>{name}</b>" in report
    every, *each = (sum(int(row[i]) for row in papers) for i in range(1, 6))
    hold, fail, untested, open_ = each
    said = f"{every} claims: {hold} hold, {fail} do not hold, {untested} no test, {open_} not run."
    assert said in report
    for text in (README, (REPOSITORY / "docs/index.md").read_text()):
        assert f"{every} in all" in text
