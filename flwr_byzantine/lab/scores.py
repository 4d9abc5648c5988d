"""The metric by which results are compared, and its value in each round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flwr_byzantine.checks import wrong

Curves = Mapping[int, Mapping[str, float]]  # round -> metrics
LOW = ("loss", "error", "perplexity", "entropy", "mse", "mae", "rmse", "xent", "nll")
HIGH = ("acc", "f1", "auc", "top1", "precision", "recall", "r2", "iou", "dice", "bleu", "rouge")
SOURCES = {
    "server": "the server's own evaluation",
    "evaluation": "what honest nodes report after evaluating, weighted by their numbers of examples",
    "training": "what honest nodes report after training, weighted by their numbers of examples",
}


@dataclass(frozen=True)
class Metric:
    """A metric by which results are compared.

    Parameters
    ----------
    name : str
        The app's name for the number.
    source : str
        ``server``, ``evaluation`` or ``training``.
    lower_is_better : bool
        Whether a lower value is better, as for a loss.
    """

    name: str
    source: str
    lower_is_better: bool

    def curve(self, curves: Mapping[str, Curves]) -> dict[int, float]:
        """The values by round."""
        found = curves.get(self.source, {})
        return {
            r: metrics[self.name] for r, metrics in sorted(found.items()) if self.name in metrics
        }


def is_low(name: str) -> bool:
    """Whether lower values of a metric are better, judged by its name.

    Examples
    --------
    >>> is_low("eval_loss"), is_low("accuracy")
    (True, False)
    """
    return any(word in name.lower() for word in LOW)


def choose_metric(
    curves: Mapping[str, Curves], name: str | None = None, lower_is_better: bool | None = None
) -> Metric:
    """The metric with a name, or the most useful metric if the user names none.

    The most useful metric comes from the server's own evaluation if there is one, else from the nodes'
    evaluation, and else from training. Among several, it is the first whose name
    says that higher values are better, if there is one.

    Parameters
    ----------
    curves : Mapping[str, Curves]
        Source -> round -> metrics, in a run without an attack.
    name : str or None
        The user's choice.
    lower_is_better : bool or None
        The user's choice. None decides by the metric's name.

    Raises
    ------
    ValueError
        If there is no such metric, or no metric at all.
    """
    found = {source: _names(curves.get(source, {})) for source in SOURCES}
    for source, names in found.items():
        if name is None and not names:
            continue
        if name is None or name in names:
            chosen = name or _best(names)
            low = is_low(chosen) if lower_is_better is None else lower_is_better
            return Metric(chosen, source, low)
    there = sorted({n for names in found.values() for n in names})
    if not there:
        raise wrong(
            "metric",
            "reported by the app",
            name,
            "Let the server evaluate (`evaluate_fn`), or let the nodes evaluate and report a number.",
        )
    raise wrong("metric", f"one of {', '.join(there)}", name, "Choose one that the app reports.")


def _names(curves: Curves) -> list[str]:
    """Return names in the order in which they came, each once."""
    return list(dict.fromkeys(name for metrics in curves.values() for name in metrics))


def _best(names: Sequence[str]) -> str:
    for wanted in (
        [n for n in names if any(word in n.lower() for word in HIGH)],
        [n for n in names if is_low(n)],
    ):
        if wanted:
            return wanted[0]
    return names[0]


def is_share(lower_is_better: bool, reference: float) -> bool:
    """Whether a point is 0.01 of the metric, as for an accuracy, and not 1 % of its reference value."""
    return reference == 0 or (not lower_is_better and 0 <= reference <= 1)


def points_of(lower_is_better: bool, reference: float) -> float:
    """How many points one unit of the metric is: 100 for a share, else 100 divided by the reference."""
    return 100.0 if is_share(lower_is_better, reference) else 100.0 / abs(reference)
