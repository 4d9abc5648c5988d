"""f in a round: the f of the user's rule, and by how much the user allows to lower it."""

from collections.abc import Sized
from logging import WARNING

from flwr.common.logger import log

from flwr_byzantine.aggregation.progress import TOO_MANY
from flwr_byzantine.rules.base import Rule, check_bound
from flwr_byzantine.rules.bounds import survives_untold


def rule_of_round(rule: Rule, received: int, accepted: int, lower_by: int) -> tuple[Rule, int]:
    """The rule of a round, and by how much its f is lowered. If no f works, it is the user's rule.

    Nobody knows whether a dropped reply came from an attacker or from an old version. So f stays,
    unless the user asks to lower it. Then it is the largest f for which the accepted replies are
    enough.

    Parameters
    ----------
    rule : Rule
        The user's.
    received : int
        The number of all replies, also of refused ones.
    accepted : int
        The number of replies for the rule.
    lower_by : int
        By how much f may be lowered.
    """
    promised = rule.at(received)
    for by in range(1 + lower_by):
        lowered = promised.without(by) if by else promised
        check_bound(lowered)
        if lowered.min_updates <= accepted:
            return lowered, by
    return promised, 0


def for_f(rule: Rule, received: int, accepted: int) -> int:
    """The number of replies to which f refers: all replies if f is a share, else the accepted ones."""
    return accepted if rule.at(received) is rule else received


def unprotected(rule: Rule, received: int, accepted: int) -> bool:
    """Whether a rule that should protect survives no attacker, because there are too few replies.

    For example, the median of two values is their mean. A mean, and a rule with f = 0, survive no attacker in
    any round. Strategies warn of these once, when they are built.
    """
    if rule.at(received) is not rule:  # f is a share of all replies
        return rule.tolerated(received) == 0
    return survives_untold(rule) and rule.tolerated(accepted) == 0


def warn_of_untold(rule: Rule) -> None:
    """Warn of a rule that does not say its f, which limits buffers."""
    if not hasattr(rule, "num_byzantine") and type(rule).tolerated is Rule.tolerated:
        text = "%s does not say its f, so attackers can move buffers. Override `tolerated`"
        log(WARNING, text, rule)


def why_broken(rule: Rule, promised: int, failed: int, asked: int) -> str | None:
    """Why a rule promises nothing, if failed clients count as Byzantine; None if it promises something."""
    if failed <= promised:
        return None
    return (
        f"{failed} of {asked} clients failed, which `count_failures` counts as Byzantine, and {rule} "
        f"survives {promised}"
    )


def can_take(rule: Rule, n: int, bound: str) -> bool:
    """Whether a rule runs with this many replies. Below its bound it runs only with `bound="warn"`."""
    if rule.max_updates is not None and n > rule.max_updates:
        return False
    return n >= rule.min_updates or (n > 0 and bound == "warn")


def why_not(rule: Rule, accepted: Sized, dropped: Sized, failed: Sized) -> str:
    """Why a round is skipped: too few replies, or more than the rule can take."""
    if rule.max_updates is not None and len(accepted) > rule.max_updates:
        return f"{len(accepted)} usable replies, and {rule} can take {rule.max_updates}{TOO_MANY}"
    reason = f"{len(accepted)} usable replies, {rule} needs {rule.min_updates}"
    if dropped:
        reason += f", and {len(dropped)} others were dropped"
    if failed:
        reason += f"; {len(failed)} clients failed"
    return reason


def warn_of_round(
    server_round: int,
    told: Rule,
    rule: Rule,
    accepted: Sized,
    dropped: Sized,
    bound: str,
    promised: int,
) -> None:
    """Warn if a rule protects less in a round than it should.

    Parameters
    ----------
    server_round : int
        The current round.
    told, rule : Rule
        The user's rule, and the rule of the round.
    accepted, dropped : Sized
        The replies for the rule, and those that were refused.
    bound : str
        See :class:`flwr_byzantine.aggregation.aggregator.Aggregator`.
    promised : int
        How many Byzantine clients among the accepted replies the rule should survive.
    """
    n, received = len(accepted), len(accepted) + len(dropped)
    if n and not promised and unprotected(told, received, n):
        text = "Round %s: %s protects from no attacker among %s replies%s: ask more clients"
        more = ", and trims nothing" if rule is not told else ""
        log(WARNING, text, server_round, told, n, more)
    if len(dropped) >= n >= rule.min_updates == 1:
        text = "Round %s: %s of %s replies were dropped. %s has no f, so it runs on the others"
        log(WARNING, text, server_round, len(dropped), received, rule)
    if 0 < n < rule.min_updates and bound == "warn":
        text = 'Round %s: %s replies came, %s needs %s. It runs for `bound="warn"` and promises nothing'
        log(WARNING, text, server_round, n, rule, rule.min_updates)
