"""Turns the roles of reStructuredText, which docstrings are written with, into Markdown for the site."""

import re
from textwrap import dedent
from typing import Any

from griffe import Extension, Object

BLOCK = re.compile(
    r"^(?P<indent> *)\.\. math::[ ]*(?P<first>[^\n]*)(?P<rest>(?:\n(?:(?P=indent) +[^\n]*|[ ]*(?=\n)))*)",
    re.MULTILINE,
)
INLINE = re.compile(r":math:`([^`]+)`")
REFERENCE = re.compile(r":(?:class|meth|func|mod|data):`([^`]+)`")


class Roles(Extension):
    """Turns formulas and cross references into Markdown before mkdocstrings reads the docstrings."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Rewrite one docstring."""
        if obj.docstring is not None:
            obj.docstring.value = markdown(obj.docstring.value)


def markdown(text: str) -> str:
    r"""Rewrite the roles of a docstring.

    Examples
    --------
    >>> markdown("See :class:`flwr_byzantine.rules.Mean` of :math:`x_i`.")
    'See [`Mean`][flwr_byzantine.rules.Mean] of \\(x_i\\).'
    """
    text = BLOCK.sub(_block, text)
    text = INLINE.sub(r"\\(\1\\)", text)
    return REFERENCE.sub(_reference, text)


def _block(match: re.Match[str]) -> str:
    body = "\n".join([match["first"].strip(), dedent(match["rest"]).strip()]).strip()
    lines = ["\\[", *body.splitlines(), "\\]"]
    return "\n".join(match["indent"] + line.strip() for line in lines) + "\n"


def _reference(match: re.Match[str]) -> str:
    target = match[1].lstrip("~")
    name = target.rpartition(".")[2]
    return f"[`{name}`][{target}]" if "." in target else f"`{name}`"
