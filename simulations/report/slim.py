"""Figures as SVG files that are small, the same for the same numbers, and may stand in a page."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from hashlib import sha256
from itertools import pairwise

import matplotlib
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from simulations.report.looks import FIXED

SVG, LINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"
PIXELS = 96 / 72  # of a point
FONT = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif"
NUMBER = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")
FAMILY = re.compile(r"font-family:[^;]*;?")
STILL = re.compile(r"rotate\(-?0 [^)]*\)")
PREFIX = re.compile(r"(</?)ns\d+:")
REFERRED = re.compile(r"url\(#([^)]+)\)")
STRAIGHT = re.compile(r"[MLz\s\d.e-]+")
NOTHING = {"Date": None, "Creator": None, "Format": None, "Type": None}


def svg_of(drawn: Figure, title: str, name: str = "") -> str:
    """Return a figure as an SVG with a title. Figures with different names share no ids."""
    FigureCanvasSVG(drawn)
    buffer = io.StringIO()
    with matplotlib.rc_context(FIXED | {"svg.hashsalt": "report"}):
        drawn.savefig(buffer, format="svg", metadata=NOTHING, facecolor="white")
    root = ET.fromstring(buffer.getvalue())
    mark = "c" + sha256((name + buffer.getvalue()).encode()).hexdigest()[:8]
    _clean(root, mark)
    wide, high = (float(size) for size in root.attrib["viewBox"].split()[2:])
    root.attrib |= {
        "width": f"{PIXELS * wide:.0f}",
        "height": f"{PIXELS * high:.0f}",
        "role": "img",
        "aria-labelledby": f"{mark}t",
        "style": f"--wide:{PIXELS * wide:.0f}px;stroke-linejoin:round;font-family:{FONT}",
    }
    named = ET.Element(f"{SVG}title", {"id": f"{mark}t"})
    named.text = title
    root.insert(0, named)
    text = ET.tostring(root, encoding="unicode")
    plain = re.sub(r' xmlns:\w+="[^"]*"', "", PREFIX.sub(r"\1", text))
    return plain.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1) + "\n"


def _clean(root: ET.Element, mark: str) -> None:
    """Leave out what nobody sees, and rename all ids so that no other figure has them."""
    used = set(REFERRED.findall(ET.tostring(root, encoding="unicode")))
    used |= {own.attrib[LINK][1:] for own in root.iter() if LINK in own.attrib}
    names = {old: f"{mark}{number}" for number, old in enumerate(sorted(used))}
    for parent in root.iter():
        for child in [own for own in parent if own.tag in (f"{SVG}metadata", f"{SVG}style")]:
            parent.remove(child)
    for own in root.iter():
        attributes = own.attrib
        own.text = own.text if (own.text or "").strip() else None
        own.tail = None
        if (name := attributes.pop("id", None)) in names:
            attributes["id"] = names[str(name)]
        if STILL.fullmatch(attributes.get("transform", "")):
            del attributes["transform"]
        if LINK in attributes:
            attributes["href"] = "#" + names[attributes.pop(LINK)[1:]]
        for key, value in attributes.items():
            attributes[key] = _short(key, value, names)
    _unwrap(root)


def _short(key: str, value: str, names: dict[str, str]) -> str:
    """Return an attribute in fewer characters."""
    if key == "d":
        return path(value)
    if key == "id":
        return value
    value = REFERRED.sub(lambda found: f"url(#{names[found[1]]})", value)
    if key == "style":
        value = FAMILY.sub("", re.sub(r"\s*([:;])\s*", r"\1", value))
    return NUMBER.sub(lambda found: f"{float(found[0]):.2f}".rstrip("0").rstrip("."), value)


def _unwrap(parent: ET.Element) -> None:
    """Replace each group that has no attributes by its content."""
    for child in parent:
        _unwrap(child)
    flat: list[ET.Element] = []
    for child in parent:
        flat += list(child) if child.tag == f"{SVG}g" and not child.attrib else [child]
    parent[:] = flat


def path(data: str) -> str:
    """Return a path of straight lines in tenths of a point, each step from the one before.

    Examples
    --------
    >>> path("M 10.02 20 L 11.5 21.04 L 13 22 L 13 22.01 L 15 18 M 5 5 L 5 6 z")
    'M10 20l3 2 2-4M5 5l0 1z'
    """
    if not STRAIGHT.fullmatch(data):
        return re.sub(r"\s+", " ", NUMBER.sub(lambda found: f"{float(found[0]):.2f}", data))
    parts = []
    for piece in data.split("M")[1:]:
        closed = "z" if "z" in piece else ""
        points = [
            (round(10 * float(x)), round(10 * float(y)))
            for x, y in (pair.split() for pair in piece.replace("z", "").split("L"))
        ]
        (x, y), steps = points[0], list(_steps(points))
        line = "l" + " ".join(f"{_tenths(dx)} {_tenths(dy)}" for dx, dy in steps) if steps else ""
        parts.append(f"M{_tenths(x)} {_tenths(y)}{line}{closed}".replace(" -", "-"))
    return "".join(parts)


def _steps(points: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield the steps from point to point. Join those in one direction, and leave out zeros."""
    dx = dy = 0
    for (x, y), (to_x, to_y) in pairwise(points):
        more = to_x - x, to_y - y
        if more == (0, 0):
            continue
        if dx * more[1] == dy * more[0] and dx * more[0] + dy * more[1] > 0:
            dx, dy = dx + more[0], dy + more[1]
            continue
        if (dx, dy) != (0, 0):
            yield dx, dy
        dx, dy = more
    if (dx, dy) != (0, 0):
        yield dx, dy


def _tenths(number: int) -> str:
    return re.sub(r"^(-?)0\.", r"\1.", f"{number / 10:g}")
