"""A node that attacks with its data if a message tells it to. Otherwise the node is honest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flwr.app import ConfigRecord, Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.constant import ErrorCode

from flwr_byzantine.lab.flower_app import load_client_app
from flwr_byzantine.lab.in_process import own_records
from flwr_byzantine.lab.names import MALICIOUS
from flwr_byzantine.lab.on_data.batches import NotUnderstoodError
from flwr_byzantine.lab.on_data.changes import Poisoned, Triggered, classes_of
from flwr_byzantine.lab.on_data.doors import intercepted, loaded

ORDER = "flwr-byzantine-on-data"  # the record that tells a node what to do with its data
TRIGGERED = "triggered"  # in place of an attack: the node evaluates samples with the trigger
CANNOT = "The attack on data could not be made"  # the beginning of such an error
ADVICE = (
    "An attack can change data that pass torch's DataLoader, or `fit` and `partial_fit` of scikit-learn's "
    "classifiers. For other data, pass `malicious`, a ClientApp for the attackers. To make one, wrap your "
    "client in `LabelFlippingClient` or `BackdoorClient` (docs/clients.md)"
)
NOTHING = "no data passed at a place where the attack can change them"


def ordered(
    content: RecordDict,
    attack: str,
    seed: int = 0,
    number: int = 0,
    folder: str = "",
    app: str = "",
) -> RecordDict:
    """The content of a message with an order added. The other records are the same."""
    order = ConfigRecord(
        {"attack": attack, "seed": seed, "number": number, "folder": folder, "app": app}
    )
    return RecordDict({**dict(content.items()), ORDER: order})


def change_of(order: ConfigRecord, content: RecordDict) -> Poisoned | Triggered:
    """The change of data that an order asks for."""
    attack = str(order["attack"])
    if attack == TRIGGERED:
        return Triggered()
    seed, number = int(order["seed"]), int(order["number"])  # type: ignore[arg-type]
    return Poisoned(attack, seed, number, classes_of(content))


class OnDataApp(ClientApp):
    """An app whose nodes attack with their data if they are told to.

    Parameters
    ----------
    app : flwr.clientapp.ClientApp
        The app, unchanged.
    """

    def __init__(self, app: ClientApp) -> None:
        super().__init__()
        self.app = app
        self.malicious: ClientApp | None = None

    def __call__(self, message: Message, context: Context) -> Message:
        """Answer a message. The answer is an error if the data cannot be changed as ordered."""
        order = message.content.config_records.get(ORDER) if message.has_content() else None
        if order is None:
            reply: Message = self.app(message, context)
            return reply
        del message.content[ORDER]
        if order["attack"] == MALICIOUS:
            if self.malicious is None:
                self.malicious = load_client_app(str(order["folder"]), str(order["app"]))
            reply = self.malicious(message, context)
            return reply
        change = change_of(order, message.content)
        untouched, before = own_records(message.content), loaded()
        answered, reason = changed(change, lambda: self.app(message, context))
        if reason == NOTHING and loaded() != before:  # the app has only now imported its library
            message.content = untouched
            answered, reason = changed(change, lambda: self.app(message, context))
        if reason is not None:
            error = Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, f"{CANNOT}: {reason}. {ADVICE}.")
            return Message(error, reply_to=message)
        found: Message = answered
        return found


def changed(change: Poisoned | Triggered, call: Callable[[], Any]) -> tuple[Any, str | None]:
    """Call a function while data are changed. Return its result, and why data could not be changed."""
    try:
        with intercepted(change):
            found = call()
    except NotUnderstoodError as error:
        return None, str(error)
    return (found, None) if change.count else (None, NOTHING)
