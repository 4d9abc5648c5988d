"""The recommended rule as code."""

from __future__ import annotations

import re

from flwr_byzantine.lab.names import rule_named
from flwr_byzantine.lab.page.data import Findings


def code_of(findings: Findings) -> tuple[str, str] | None:
    """The import and the expression of the recommended rule; None if the library has no such rule.

    Parameters
    ----------
    findings : Findings
        They say which rule is recommended, and how many nodes attacked.
    """
    f = findings.raw.get("byzantine")
    if findings.recommended is None or not isinstance(f, int) or isinstance(f, bool):
        return None
    try:
        rule = repr(rule_named(findings.recommended, f))
    except (TypeError, ValueError):  # a rule of the user's own, or one with more arguments
        return None
    names = sorted({*re.findall(r"\b([A-Z]\w+)\(", rule)})
    return f"from flwr_byzantine.rules import {', '.join(names)}", rule
