"""A document as blocks, written once and rendered as Markdown and as one HTML file."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

from flwr_byzantine.lab.page.text import escape


@dataclass(frozen=True)
class Heading:
    """A heading of level 1, 2, ..."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Link:
    """A link to a heading, as a cell of a table or as a paragraph."""

    text: str
    heading: str


@dataclass(frozen=True)
class Verdict:
    """What became of claims, in words, and the verdict that decides the colour of the words."""

    text: str
    verdict: str

    @property
    def marked(self) -> str:
        """The words in a class that a stylesheet may colour, such as `verdict-holds`."""
        return f'<span class="{CLASSES[self.verdict]}">{escape(self.text)}</span>'


Cell = str | Link | Verdict


@dataclass(frozen=True)
class Table:
    """A table, whose cells are plain text, links or verdicts."""

    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]


@dataclass(frozen=True)
class Image:
    """A PNG or SVG file in the folder of the document, and what it shows."""

    name: str
    shows: str


@dataclass(frozen=True)
class Fold:
    """Blocks that are hidden until the reader opens their title."""

    title: str
    verdicts: Sequence[Verdict]
    blocks: Sequence[Block]

    @property
    def summary(self) -> str:
        """The line that is always shown, as HTML."""
        counts = ", ".join(verdict.marked for verdict in self.verdicts)
        return f"<summary><b>{escape(self.title)}</b>{': ' if counts else ''}{counts}</summary>"


Block = Heading | Text | Table | Image | Link | Fold

CLASSES = {
    "holds": "verdict-holds",
    "does not hold": "verdict-fails",
    "no test": "verdict-no-test",
    "not run": "verdict-not-run",
}
PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 75rem; margin: auto; padding: 1rem; }
table { border-collapse: collapse; display: block; overflow-x: auto; font-size: 14px; }
th, td { border: 1px solid #8886; padding: .25rem .5rem; text-align: left; vertical-align: top; }
img, svg { max-width: 100%; background: white; }
svg { height: auto; min-width: min(36rem, var(--wide)); }
.wide { overflow-x: auto; margin: 1rem 0; }
nav a { margin-right: 1rem; }
details { border-top: 1px solid #8886; padding: .5rem 0; }
summary { cursor: pointer; }
[class^=verdict] { padding: 0 .3rem; border-radius: 3px; white-space: nowrap; }
td[class^=verdict] { padding: .25rem .5rem; border-radius: 0; font-weight: 600; }
.verdict-holds { color: #0b4a8c; background: #e1edf9; }
.verdict-fails { color: #8a3a00; background: #fdebdc; }
.verdict-no-test, .verdict-not-run { color: #4d555e; background: #eef0f2; }
@media (prefers-color-scheme: dark) {
.verdict-holds { color: #a9d1fb; background: #1b3450; }
.verdict-fails { color: #ffc08f; background: #4a2a10; }
.verdict-no-test, .verdict-not-run { color: #c3cad2; background: #2a2f36; }
}
</style>
</head>
<body>
$body
</body>
</html>
""")


def render_markdown(blocks: Sequence[Block]) -> str:
    """Return the document as Markdown; images are linked."""
    return "\n\n".join(_markdown(block) for block in blocks) + "\n"


def render_html(blocks: Sequence[Block], folder: Path) -> str:
    """Return the document as one HTML page that needs no other file; all text is escaped.

    Parameters
    ----------
    blocks : sequence of Block
        The document; its first heading is the title.
    folder : Path
        Where its images lie.
    """
    headings = [block for block in blocks if isinstance(block, Heading)]
    links = "".join(
        f'<a href="#{anchor(h.text)}">{escape(h.text)}</a> ' for h in headings if h.level == 2
    )
    parts = [_html(block, folder) for block in blocks]
    parts.insert(1, f"<nav>{links}</nav>")
    return PAGE.substitute(title=escape(headings[0].text), body="\n".join(parts))


def anchor(text: str) -> str:
    """Return a name for a heading.

    Examples
    --------
    >>> anchor("ByGARS on CIFAR-10")
    'bygars-on-cifar-10'
    """
    return re.sub(r"\W+", "-", text.lower()).strip("-")


def slug(text: str) -> str:
    """Return the name that a heading has on the site, where Markdown chooses it.

    Examples
    --------
    >>> slug("ByzFL's heatmaps on MNIST, gamma = 0.33")
    'byzfls-heatmaps-on-mnist-gamma-033'
    """
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", text).strip().lower())


def _markdown(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"{'#' * level} {text}"
        case Text(text):
            return text
        case Image(name, shows):
            return f"![{shows}]({name})"
        case Link():
            return _cell(block)
        case Fold():
            inside = "\n\n".join(_markdown(own) for own in block.blocks)
            return f'<details markdown="1">\n{block.summary}\n\n{inside}\n\n</details>'
        case Table(head, rows):
            lines = [head, ["---"] * len(head), *rows]
            return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(cell: Cell) -> str:
    if isinstance(cell, Verdict):
        return cell.marked
    if isinstance(cell, Link):
        return f"[{_cell(cell.text)}](#{slug(cell.heading)})"
    return cell.replace("|", "\\|")


def _html(block: Block, folder: Path) -> str:
    match block:
        case Heading(text, 1):  # it gets no id, because a part may have the same title
            return f"<h1>{escape(text)}</h1>"
        case Heading(text, level):
            return f'<h{level} id="{anchor(text)}">{escape(text)}</h{level}>'
        case Text(text):
            code = re.sub("`(.+?)`", r"<code>\1</code>", escape(text))
            strong = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", code)
            return f"<p>{strong}</p>"
        case Link(text, heading):
            return f'<p><a href="#{anchor(heading)}">{escape(text)}</a></p>'
        case Fold():
            inside = "\n".join(_html(own, folder) for own in block.blocks)
            return f"<details>{block.summary}\n{inside}\n</details>"
        case Image(name, _) if name.endswith(".svg"):
            return f'<div class="wide">{(folder / name).read_text(encoding="utf-8")}</div>'
        case Image(name, shows):
            data = base64.b64encode((folder / name).read_bytes()).decode()
            return f'<p><img alt="{escape(shows)}" src="data:image/png;base64,{data}"></p>'
        case Table(head, rows):
            top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
            body = "\n".join(f"<tr>{''.join(map(_data, row))}</tr>" for row in rows)
            return f"<table><thead><tr>{top}</tr></thead><tbody>\n{body}\n</tbody></table>"


def _data(cell: Cell) -> str:
    if isinstance(cell, Link):
        return f'<td><a href="#{anchor(cell.heading)}">{escape(cell.text)}</a></td>'
    if isinstance(cell, Verdict):
        return f'<td class="{CLASSES[cell.verdict]}">{escape(cell.text)}</td>'
    return f"<td>{escape(cell)}</td>"
