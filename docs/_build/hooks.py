"""Hooks for what MkDocs does not do by itself.

They add the link to the repository and the reports to the navigation, turn formulas into MathML, replace
links that lead out of docs/, leave out notes for readers of the repository, and refuse pages that load
something from a network.
"""

import html
import posixpath
import re
import tomllib
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError

FORMULA = re.compile(
    r'<(?:span|div) class="arithmatex">\s*\\([(\[])(.*?)\\[)\]]\s*</(?:span|div)>', re.DOTALL
)
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?!\w+:)([^)#\s]+)(#[^)\s]*)?\)")
LOADED = re.compile(r"<(?:script|img|iframe|link)\b[^>]*\b(?:src|href)=[\"']?(?:https?:)?//[^>]*>")
VERDICT = re.compile(r"<td>(holds|does not hold|no test|not run)</td>")
VERDICTS = {
    "holds": "verdict-holds",
    "does not hold": "verdict-fails",
    "no test": "verdict-no-test",
    "not run": "verdict-not-run",
}
ELSEWHERE = re.compile(r"<!-- only in the repository -->.*?<!-- end of the note -->\n*", re.DOTALL)
ASKED = ' data-md-component="source"'  # it makes the theme's script ask the repository's host for numbers
REPOSITORY = Path(__file__).resolve().parents[2]


def on_config(config: Any) -> Any:
    """Link to the repository if `pyproject.toml` names it, and add the reports to the navigation."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    repository = project.get("urls", {}).get("Repository")
    if repository:
        config["repo_url"], config["repo_name"] = repository, "Repository"
    docs = Path(config["docs_dir"])
    reports = sorted(docs.glob("results/*/README.md"))
    for section in config["nav"]:
        if isinstance(section, dict) and "Evidence" in section:
            section["Evidence"][:0] = [path.relative_to(docs).as_posix() for path in reports]
    return config


def on_page_content(content: str, **_: Any) -> str:
    """Replace LaTeX by MathML, which browsers draw without a script, and colour the verdicts of reports."""
    return VERDICT.sub(_verdict, FORMULA.sub(_mathml, content))


def _verdict(match: re.Match[str]) -> str:
    return f'<td><span class="{VERDICTS[match[1]]}">{match[1]}</span></td>'


def _mathml(match: re.Match[str]) -> str:
    display = "block" if match[1] == "[" else "inline"
    return convert(html.unescape(match[2]).strip(), display=display)


def on_page_markdown(markdown: str, page: Any, files: Any, **_: Any) -> str:
    """Replace links to files that are no pages by the paths of these files, and leave out notes for others."""
    folder = posixpath.dirname(page.file.src_uri)

    def link(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(folder, match[2]))
        if files.get_file_from_path(target) is not None:
            page_of_notebook = re.sub(r"\.ipynb$", ".md", match[2])
            return f"[{match[1]}]({page_of_notebook}{match[3] or ''})"
        if target.startswith("results/"):  # written by experiments, which may not have run yet
            return match[1]
        if target.startswith("../") and (REPOSITORY / "docs" / target).exists():
            return f"{match[1]} (`{posixpath.normpath(posixpath.join('docs', target))}`)"
        return match[0]

    return LINK.sub(link, ELSEWHERE.sub("", markdown))


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Refuse pages that would load something from a network."""
    output = output.replace(ASKED, "")
    found = LOADED.search(output)
    if found is not None:
        raise PluginError(f"{page.file.src_uri} loads something from a network: {found[0]}")
    return output
