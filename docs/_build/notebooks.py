"""Makes pages of notebooks. Each notebook is executed when the site is built, so its outputs fit the present code."""

from pathlib import Path
from textwrap import wrap
from typing import Any

import nbformat
from mkdocs.structure.files import File
from nbclient import NotebookClient

WIDTH = 100  # of printed lines, as on a terminal
QUIET = [
    "--log-level=ERROR"
]  # otherwise a kernel warns of its ports, which only this machine reaches
SVG = "image/svg+xml"


def on_files(files: Any, config: Any) -> Any:
    """Add a page for each notebook. The notebook itself stays, so that readers can download it."""
    for file in list(files):
        if file.src_uri.endswith(".ipynb"):
            content = markdown(executed(Path(file.abs_src_path)))
            files.append(File.generated(config, page_of(file.src_uri), content=content))
    return files


def page_of(notebook: str) -> str:
    """The name of a notebook's page.

    Examples
    --------
    >>> page_of("stress-notebook.ipynb")
    'stress-notebook.md'
    """
    return notebook.removesuffix(".ipynb") + ".md"


def executed(path: Path) -> Any:
    """Run a notebook in its own folder. Raise CellExecutionError if a cell raises."""
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
    """Write an output of a cell as Markdown: printed text, a drawing or the value of its last line."""
    if output.output_type == "stream":
        return _fenced(_wrapped(output.text), "text")
    if SVG in output.data:
        return f"<div>{output.data[SVG]}</div>"
    return _fenced(_wrapped(output.data["text/plain"]), "text")


def _wrapped(text: str) -> str:
    """The same text in lines that fit the page."""
    return "\n".join("\n".join(wrap(line, WIDTH)) for line in text.splitlines())


def _fenced(text: str, language: str) -> str:
    return f"```{language}\n{text.rstrip()}\n```"
