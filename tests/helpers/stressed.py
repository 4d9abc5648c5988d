"""Made-up results of stress tests, in the form of `stress.json`."""

from __future__ import annotations

import math
import random

NODES = [9223372036854775807 - 1_234_567_890_123 * i for i in range(10)]  # ids like Flower's
RULES = ("app", "fedavg", "median", "phocas", "krum", "nnm+phocas")
ATTACKS = ("none", "sign_flip", "lie", "ipm", "min_max")
ENDS = {  # the accuracy that is reached under each attack
    "app": (0.931, 0.098, 0.412, 0.221, 0.350),
    "fedavg": (0.930, 0.101, 0.405, 0.214, 0.361),
    "median": (0.917, 0.894, 0.803, 0.871, 0.842),
    "phocas": (0.925, 0.911, 0.861, 0.902, 0.889),
    "krum": (0.872, 0.870, 0.874, None, 0.869),
    "nnm+phocas": (0.926, 0.921, 0.913, 0.917, 0.909),
}
COSTS = {
    "app": 1.0,
    "fedavg": 1.01,
    "median": 1.04,
    "phocas": 1.06,
    "krum": 1.05,
    "nnm+phocas": 1.13,
}
ERROR = "ValueError: Parameter `num_byzantine` should be at most 3. Found `num_byzantine = 4`."


def cell(rule, attack, end, rounds=8, seed=0, start=0.1, **others):
    """A run that went from one value to another."""
    drawn = random.Random(f"{rule}{attack}{seed}")
    finite = end is not None and math.isfinite(end)
    curve = []
    for r in range(rounds + 1) if end is not None else ():
        whole = start + ((end if finite else 0.3) - start) * (1 - math.exp(-0.75 * r))
        noisy = whole + drawn.gauss(0, 0.012) * (0 < r < rounds)
        curve.append([r, end if not finite and r > rounds / 2 else noisy])
    if finite:
        curve[-1][1] = end
    byzantine = [] if attack == "none" else [NODES[2:4]] * rounds
    return {
        "rule": rule,
        "attack": attack,
        "final": end,
        "lost": None if end is None else 100 * (0.931 - end),
        "curve": curve,
        "seconds_per_round": 0.84 * COSTS.get(rule, 1.2) * drawn.uniform(0.99, 1.01),
        "error": None,
        "byzantine": byzantine,
        "verdicts": verdicts(rule, attack, rounds, drawn),
        "nodes": {str(node): 0.9 - 0.01 * i for i, node in enumerate(NODES) if i not in (2, 3)},
        **others,
    }


def verdicts(rule, attack, rounds, drawn):
    """What a rule that is right most of the time says about each reply."""
    word = "not selected" if rule == "krum" else "trimmed"
    found = []
    for r in range(1, rounds + 1) if rule != "app" else ():
        for i, node in enumerate(NODES):
            bad = attack != "none" and i in (2, 3)
            odds = 0 if rule == "fedavg" else 0.86 if bad else 0.7 if rule == "krum" else 0.12
            verdict = word if drawn.random() < odds else "kept"
            found.append([r, str(node), "failed" if (i, r) == (9, 3) else verdict])
    return found


def example():
    """The result of an app that attacks break, with a rule that holds, and one failed run."""
    cells = [
        cell(rule, attack, end)
        for rule, ends in ENDS.items()
        for attack, end in zip(ATTACKS, ends, strict=True)
    ]
    for one in cells:
        if one["final"] is None:
            one |= {"error": ERROR, "curve": [], "verdicts": [], "nodes": {}}
    drawn = random.Random(1)
    losers = {
        rule: sorted(
            (
                [str(n), drawn.gauss(1, 2) + 14 * (i == 7) * (rule == "krum")]
                for i, n in enumerate(NODES)
                if i not in (2, 3)
            ),
            key=lambda pair: -pair[1],
        )
        for rule in RULES[1:]
    }
    reason = (
        "nnm+phocas loses 2.2 points at worst (under min_max), where the app without a rule loses 83.3 "
        "(under sign_flip). No other rule comes within a point of it."
    )
    return {
        "app": "quickstart-digits",
        "metric": "accuracy",
        "source": "server",
        "lower_is_better": False,
        "clients": 10,
        "byzantine": 2,
        "rounds": 8,
        "seed": 0,
        "config": {"num-server-rounds": 8, "learning-rate": 0.1, "optimizer": "sgd"},
        "cells": cells,
        "recommendation": {"rule": "nnm+phocas", "reason": reason},
        "clients_who_lose": losers,
    }


def repeated():
    """The example with three seeds. One seed failed in one cell, and diverged in another."""
    result = example() | {"seeds": [0, 1, 2]}
    for one in result["cells"]:
        if one["final"] is None:
            continue
        many = [
            cell(one["rule"], one["attack"], end, seed=seed)
            for seed, end in enumerate((one["final"] - 0.02, one["final"] + 0.02, one["final"]))
        ]
        one |= {
            "finals": [run["final"] for run in many],
            "losses": [run["lost"] for run in many],
            "curves": [run["curve"] for run in many],
        }
    failed, diverged = result["cells"][6], result["cells"][12]
    failed["finals"][1] = failed["losses"][1] = None
    diverged["finals"][2] = diverged["losses"][2] = math.nan
    return result


def grid(rules=25, attacks=15):
    """A result with many rules and many attacks, and with some broken models."""
    drawn = random.Random(2)
    names = ["app", *(f"bucketing+rule_of_number_{i}" for i in range(1, rules))]
    kinds = ["none", *(f"attack_number_{i}" for i in range(1, attacks))]
    cells = [
        cell(rule, kind, 0.931 if i + k == 0 else math.nan if (i, k) == (3, 4) else drawn.random())
        for i, rule in enumerate(names)
        for k, kind in enumerate(kinds)
    ]
    return example() | {
        "cells": cells,
        "recommendation": {"rule": names[-1], "reason": "It holds."},
    }


def loss():
    """A result whose metric is better if it is lower, and which attacks drive to infinity."""
    ends = {
        "app": (0.31, 4.2e6, math.inf),
        "median": (0.35, 0.41, 0.52),
        "phocas": (0.33, 0.38, math.nan),
    }
    cells = [
        cell(rule, attack, end, start=2.3, lost=(end - 0.31) / 0.0031)
        for rule, found in ends.items()
        for attack, end in zip(("none", "sign_flip", "gaussian"), found, strict=True)
    ]
    return example() | {
        "metric": "loss",
        "source": "training",
        "lower_is_better": True,
        "cells": cells,
        "recommendation": {
            "rule": None,
            "reason": "None: no rule came to a result under every attack.",
        },
        "clients_who_lose": {},
    }
