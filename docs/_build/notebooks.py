"""Notebooks become pages: each is executed when the site is built, so that its outputs are those of the present code."""

from pathlib import Path
from textwrap import wrap
from typing import Any

import nbformat
from mkdocs.structure.files import File
from nbclient import NotebookClient

WIDTH = 100  # of lines that are printed, as on a terminal
QUIET = [
    "--log-level=ERROR"
]  # a kernel warns that it has ports, which are open on this machine alone
SVG = "image/svg+xml"


def on_files(files: Any, config: Any) -> Any:
    """Add a page for each notebook; the notebook itself is there to be downloaded."""
    for file in list(files):
        if file.src_uri.endswith(".ipynb"):
            content = markdown(executed(Path(file.abs_src_path)))
            files.append(File.generated(config, page_of(file.src_uri), content=content))
    return files


def page_of(notebook: str) -> str:
    """The page that a notebook becomes.

    Examples
    --------
    >>> page_of("stress-notebook.ipynb")
    'stress-notebook.md'
    """
    return notebook.removesuffix(".ipynb") + ".md"


def executed(path: Path) -> Any:
    """Run a notebook in its own folder; CellExecutionError if a cell raises."""
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(path.parent)}}
    client = NotebookClient(notebook, timeout=300, resources=resources, extra_arguments=QUIET)
    return client.execute()


def markdown(notebook: Any) -> str:
    """Write a notebook as Markdown, which the site draws and checks as it does other pages."""
    parts = []
    for cell in notebook.cells:
        parts.append(
            cell.source if cell.cell_type == "markdown" else _fenced(cell.source, "python")
        )
        parts += [_shown(output) for output in cell.get("outputs", ())]
    return "\n\n".join(parts) + "\n"


def _shown(output: Any) -> str:
    """What a cell printed, drew, or ended with."""
    if output.output_type == "stream":
        return _fenced(_wrapped(output.text), "text")
    if SVG in output.data:
        return f"<div>{output.data[SVG]}</div>"
    return _fenced(_wrapped(output.data["text/plain"]), "text")


def _wrapped(text: str) -> str:
    """The same in lines that fit."""
    return "\n".join("\n".join(wrap(line, WIDTH)) for line in text.splitlines())


def _fenced(text: str, language: str) -> str:
    return f"```{language}\n{text.rstrip()}\n```"
