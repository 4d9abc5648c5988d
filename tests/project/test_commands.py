"""The commands on the pages: each of them exists, and takes the options that the page gives it."""

import re
import shlex
from pathlib import Path

import pytest
from flwr.cli.app import app as flower
from typer.main import get_command

from flwr_byzantine.commands.app import app as ours
from simulations.commands.cli import app as simulations

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = sorted(
    path
    for path in (*REPOSITORY.glob("*.md"), *REPOSITORY.glob("*/**/*.md"))
    if path.relative_to(REPOSITORY).parts[0] in (path.name, "docs", "examples", "deploy")
    and path.name != "CHANGELOG.md"
)
PROGRAMS = {
    "flwr": flower,
    "flwr-byzantine": ours,
    "python -m flwr_byzantine": ours,
    "python -m simulations": simulations,
}
NAMES = "|".join(map(re.escape, PROGRAMS))
CALL = re.compile(rf"^(?:\w+=\S+ )*(?:\S+/)?({NAMES}) ([a-z]+\b.*)$")


def called(page):
    """Program and arguments of each command on a page: in its `sh` blocks, indented, and in its sentences."""
    text = re.sub(r" *\\\n *", " ", page.read_text())
    shown = re.findall(r"(?ms)^ *```sh\n(.*?)^ *```$", text)
    prose = re.sub(r"(?ms)^ *```.*?^ *```$", "", text)
    lines = [line.strip() for block in shown for line in block.splitlines()]
    lines += [line.strip() for line in re.findall(r"(?m)^ {4}.*$", prose)]
    lines += [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]
    return [match.groups() for match in map(CALL.match, lines) if match]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_commands_have_the_options_that_pages_give_them(page):
    for program, arguments in called(page):
        name, *options = shlex.split(arguments, comments=True)
        command = get_command(PROGRAMS[program]).commands[name]
        command.make_parser(command.context_class(command)).parse_args(options)


def test_commands_are_found():
    found = {program for page in PAGES for program, _ in called(page)}
    assert found == {*PROGRAMS}
    readme = [arguments for _, arguments in called(REPOSITORY / "README.md")]
    assert any(text.startswith("stress ./my-flower-app --rules app,") for text in readme)


@pytest.mark.parametrize(
    ("command", "page"), [("stress", "docs/stress.md"), ("plan", "docs/plan-for-f.md")]
)
def test_a_page_names_all_options_of_its_command(command, page):
    text = (REPOSITORY / page).read_text()
    for parameter in get_command(ours).commands[command].params:
        options = [*parameter.opts, *parameter.secondary_opts]
        missing = [option for option in options if option[0] == "-" and f"`{option}`" not in text]
        assert not missing, parameter.name
