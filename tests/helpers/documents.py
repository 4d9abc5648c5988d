"""Pages as a parser and a browser see them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

VOID = {"meta", "link", "br", "img", "input", "hr"}
NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next((found for name in NAMES if (found := shutil.which(name))), None)
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--enable-logging=stderr", "--virtual-time-budget=10000",
)  # fmt: skip


@dataclass
class Element:
    """An element, and all the text in it."""

    tag: str
    attributes: dict[str, str]
    parent: Element | None
    text: str = ""
    children: list[Element] = field(default_factory=list)

    def all(self, tag: str | None = None, **attributes: str) -> Iterator[Element]:
        """All elements within this one, by tag and attributes."""
        wanted = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items()}
        for child in self.children:
            if tag in (None, child.tag) and wanted.items() <= child.attributes.items():
                yield child
            yield from child.all(tag, **attributes)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.root = self.now = Element("", {}, None)

    def handle_starttag(self, tag, attributes):
        names = [name for name, _ in attributes]
        assert len({*names}) == len(names), f"attributes twice: {self.get_starttag_text()}"
        element = Element(tag, {k: v or "" for k, v in attributes}, self.now)
        self.now.children.append(element)
        if tag not in VOID and not self.get_starttag_text().endswith("/>"):
            self.now = element

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)

    def handle_endtag(self, tag):
        assert tag == self.now.tag, f"</{tag}> closes <{self.now.tag}>"
        self.now = self.now.parent

    def handle_data(self, data):
        element = self.now
        while element is not None:
            element.text += data
            element = element.parent


def parsed(page: str) -> Element:
    """The root of a page. Raise AssertionError if an element is not closed, or closed in the wrong order."""
    reader = _Reader()
    reader.feed(page)
    reader.close()
    assert reader.now is reader.root, f"<{reader.now.tag}> is not closed"
    return reader.root


# Script that reports the size and the loads of a page to the page that frames it.
PROBE = """<script>addEventListener("load", () => {
document.querySelectorAll("details").forEach(d => d.open = true);
const cut = [...document.querySelectorAll("svg text")].filter(t => {
const box = t.getBoundingClientRect(), all = t.ownerSVGElement.getBoundingClientRect();
return box.left < all.left - 0.5 || box.right > all.right + 0.5 || box.top < all.top - 0.5
|| box.bottom > all.bottom + 0.5; }).map(t => t.textContent);
const wide = [...document.querySelectorAll("body *")].filter(e => !e.closest(".scroll, pre")
&& e.getBoundingClientRect().right > innerWidth + 0.5).map(e => e.tagName);
parent.postMessage(JSON.stringify({inner: innerWidth, scroll: document.documentElement.scrollWidth,
loaded: performance.getEntriesByType("resource").map(e => e.name), cut, wide}), "*"); });</script>"""
FRAME = """<!doctype html><body><pre id="said"></pre><iframe src="copy.html" width="{width}" height="900"
style="border:0"></iframe><script>addEventListener("message", e => said.textContent = e.data)</script>"""


def opened(path: Path, folder: Path) -> tuple[str, list[str]]:
    """What a browser makes of a file, and the lines of its console."""
    command = [CHROMIUM, *OPTIONS, f"--user-data-dir={folder}/profile", "--dump-dom", path.as_uri()]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return ended.stdout, [line for line in ended.stderr.splitlines() if "CONSOLE" in line]


def measured(page: str, width: int, folder: Path) -> dict:
    """How a page fits into a width, what goes beyond it, and what it loads."""
    open_to_scripts = re.sub(r"<meta http-equiv=[^>]*>", "", page)
    (folder / "copy.html").write_text(open_to_scripts.replace("</body>", f"{PROBE}</body>"))
    (folder / "frame.html").write_text(FRAME.format(width=width))
    dom, _ = opened(folder / "frame.html", folder)
    return json.loads(unescape(re.search(r'<pre id="said">(.*?)</pre>', dom, re.DOTALL)[1]))
