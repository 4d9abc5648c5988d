"""The site: its navigation, what its hooks add, and tutorials that show the real outputs."""

import contextlib
import importlib.util
import io
import re
import shutil
from pathlib import Path

import pytest
import yaml

from flwr_byzantine.lab import stress
from simulations.report.blocks import slug

REPOSITORY = next(p for p in Path(__file__).resolve().parents if (p / "pyproject.toml").exists())
DOCS = REPOSITORY / "docs"
TUTORIALS = ("first-swap", "red-team", "choose-a-rule", "deploy", "write-a-rule")
PAIR = re.compile(r"(?ms)^```python\n(.*?)^```$(?:\n\n^```text\n(.*?)^```$)?")


class Settings(yaml.SafeLoader):
    """A reader of mkdocs.yml."""


def settings():
    """The content of mkdocs.yml."""
    return yaml.load((REPOSITORY / "mkdocs.yml").read_text(), Settings)


@pytest.fixture
def hooks():
    """The hooks that build the site."""
    spec = importlib.util.spec_from_file_location("hooks", DOCS / "_build" / "hooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def configured(hooks):
    """The navigation and the repository after the hooks ran."""
    return hooks.on_config({"docs_dir": str(DOCS), "nav": settings()["nav"]})


def test_the_navigation_is_by_kind_and_has_every_tutorial():
    nav = {name: pages for item in settings()["nav"] for name, pages in item.items()}
    assert [*nav] == ["Home", "Tutorials", "How-to", "Explanation", "Reference", "Evidence"]
    pages = [page for item in nav["Tutorials"][1:] for page in item.values()]
    assert pages == [f"tutorials/{name}.md" for name in TUTORIALS]
    # With this feature, a report would vanish behind the name of its section: its file is a README.md.
    assert "navigation.indexes" not in settings()["theme"]["features"]


def test_the_reports_are_evidence(hooks):
    (evidence,) = (item["Evidence"] for item in configured(hooks)["nav"] if "Evidence" in item)
    reports = {path.relative_to(DOCS).as_posix() for path in DOCS.glob("results/*/README.md")}
    assert reports
    assert {page for page in evidence if isinstance(page, str)} == reports


@pytest.mark.parametrize(
    "report", sorted(DOCS.glob("results/*/README.md")), ids=lambda path: path.parent.name
)
def test_links_within_a_report_lead_to_its_headings(report):
    """MkDocs does not look into what is folded."""
    text = report.read_text()
    names = {slug(heading) for heading in re.findall(r"(?m)^#+ (.+)$", text)}
    assert {*re.findall(r"\]\(#([^)]*)\)", text)} <= names


def pages_with_docstrings():
    return [path for path in DOCS.rglob("*.md") if "\n::: " in path.read_text()]


@pytest.mark.parametrize("page", pages_with_docstrings(), ids=lambda page: page.stem)
def test_only_readers_of_the_repository_are_told_what_stands_for_a_docstring(hooks, page):
    class OfThePage:
        src_uri = page.relative_to(DOCS).as_posix()

    class Files:
        def get_file_from_path(self, path):
            return DOCS / path if (DOCS / path).exists() else None

    text = page.read_text()
    assert text.count("begins with `:::` stands for") == 1
    on_site = hooks.on_page_markdown(text, type("Page", (), {"file": OfThePage}), Files())
    assert "`:::`" not in on_site
    assert "<!-- only" not in on_site
    assert on_site.count("\n::: ") == text.count("\n::: ")


@pytest.mark.parametrize("repository", [None, "https://example.org/who/what"])
def test_the_repository_is_linked_once_pyproject_names_it(hooks, tmp_path, monkeypatch, repository):
    line = f'Repository = "{repository}"\n' if repository else ""
    (tmp_path / "pyproject.toml").write_text(f"[project]\n[project.urls]\n{line}")
    monkeypatch.setattr(hooks, "REPOSITORY", tmp_path)
    assert configured(hooks).get("repo_url") == repository


def test_the_theme_asks_nobody_in_a_network(hooks):
    theme = settings()["theme"]
    assert theme["font"] is False
    assert not re.search(r"url\(|@import", (DOCS / "site.css").read_text())
    shown = hooks.on_post_page('<a class="md-source" data-md-component="source">', None)
    assert shown == '<a class="md-source">'  # otherwise a script would ask the repository's host
    assert [palette["toggle"]["icon"] for palette in theme["palette"]]
    assert "navigation.footer" in theme["features"]


def test_verdicts_of_reports_have_colours(hooks):
    shown = hooks.on_page_content("<td>does not hold</td><td>it holds</td><td>no test</td>")
    assert '<span class="verdict-fails">does not hold</span>' in shown
    assert "<td>it holds</td>" in shown
    style = (DOCS / "site.css").read_text()
    assert all(f".{name} {{" in style for name in hooks.VERDICTS.values())


@pytest.mark.parametrize("page", ["index", *(f"tutorials/{name}" for name in TUTORIALS)])
def test_pages_show_what_their_python_prints(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {}
    for code, shown in PAIR.findall((DOCS / f"{page}.md").read_text()):
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(code, namespace)
        assert printed.getvalue() == shown


def block(page, language, number=0):
    """One block of a page."""
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```$", (DOCS / page).read_text())[number]


def app_of_the_first_swap(folder, swapped):
    """The app that the tutorial writes, before or after its swap."""
    code, page = block("tutorials/first-swap.md", "python"), "tutorials/first-swap.md"
    for line in block(page, "diff").splitlines() if swapped else ():
        if line.startswith("-"):
            (old,) = (own for own in code.splitlines() if own.strip() == line[1:].strip())
        elif line.startswith("+"):
            new = line[1:].strip()
            code = code.replace(old.strip(), new)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "pyproject.toml").write_text(block(page, "toml"))
    (folder / "my_app.py").write_text(code)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("swapped", "attackers", "least", "most"), [
    (False, 0, 0.8, 1), (False, 1, 0, 0.3), (True, 1, 0.8, 1),
])  # fmt: skip
def test_the_app_of_the_first_swap(tmp_path, swapped, attackers, least, most):
    app = app_of_the_first_swap(tmp_path / "my-app", swapped)
    result = stress(
        app, rules=["app"], attacks=["none"], byzantine=0, config={"attackers": attackers}, jobs=1
    )
    assert least <= result.cell("app", "none")["final"] <= most
