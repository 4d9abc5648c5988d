"""Names of rules and attacks as people write them."""

from __future__ import annotations

import re

# How papers write the names that experiments have in small letters.
WRITTEN = {
    "bulyan": "Bulyan", "bygars": "ByGARS", "caf": "CAF", "dirichlet": "Dirichlet", "dnc": "DnC",
    "fedavg": "FedAvg", "fltrust": "FLTrust", "gaussian": "Gaussian", "ipm": "IPM", "krum": "Krum",
    "lie": "LIE", "mda": "MDA", "meamed": "MeaMed", "multi": "Multi", "nnm": "NNM", "ofom": "OFOM",
    "paf": "PAF", "phocas": "Phocas", "rfa": "RFA", "smea": "SMEA",
}  # fmt: skip


def written(name: str) -> str:
    """Return a name as papers write it.

    Examples
    --------
    >>> written("multi-krum, m = 4"), written("bygars++ (normalised)"), written("lie, 3 of 8")
    ('Multi-Krum, m = 4', 'ByGARS++ (normalised)', 'LIE, 3 of 8')
    """
    return re.sub("[A-Za-z]+", lambda word: WRITTEN.get(word[0], word[0]), name)
