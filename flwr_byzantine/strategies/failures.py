"""Which clients were asked in a round and did not answer, and why. Clients have the server's own names.

In the ``aggregate_fit`` API, an exception does not name its client. In the Message API, the SuperLink answers
for a node that is gone. So failures are found by comparing who was asked with who answered.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from logging import WARNING
from types import TracebackType
from typing import Any, Self

from flwr.app import Message, Metadata
from flwr.common.constant import ErrorCode
from flwr.common.logger import log
from flwr.server.client_proxy import ClientProxy

from flwr_byzantine.aggregation.npy import clip_error, in_one_line
from flwr_byzantine.audit.suspicion import Absence

NO_REPLY = "no reply"
UNREACHED = (  # what the SuperLink says if a node is gone or too late
    ErrorCode.MESSAGE_UNAVAILABLE,
    ErrorCode.REPLY_MESSAGE_UNAVAILABLE,
    ErrorCode.NODE_UNAVAILABLE,
)
SUPERLINK = 1  # the node id of Flower's own errors

Errors = Sequence[tuple[str | None, str]]  # the client, or None if nobody knows it, and the text


@dataclass(frozen=True)
class Asked:
    """Who was asked in a round.

    Parameters
    ----------
    server_round : int
        The round.
    clients : tuple[str, ...]
        The server's own names of the clients.
    messages : tuple[Metadata, ...]
        In the Message API, the metadata of the messages, in the same order. Flower sets their ids later.
    """

    server_round: int
    clients: tuple[str, ...]
    messages: tuple[Metadata, ...] = ()

    @classmethod
    def nodes(cls, server_round: int, messages: Iterable[Message]) -> Self:
        """The nodes to which messages of the Message API go."""
        sent = tuple(message.metadata for message in messages)
        return cls(server_round, tuple(str(metadata.dst_node_id) for metadata in sent), sent)


def who_failed(
    asked: Asked | None, server_round: int, answered: Collection[str], errors: Errors
) -> dict[str, str]:
    """Client -> reason, for all clients that were asked and sent no reply, and for all errors.

    Parameters
    ----------
    asked : Asked or None
        Who was asked last; None if that is not known. It is not used if other clients replied too.
    server_round : int
        The round that is over.
    answered : Collection[str]
        The clients that sent a reply.
    errors : Sequence[tuple[str or None, str]]
        Errors and exceptions.
    """
    found = {name: reason for name, reason in errors if name is not None and name not in answered}
    nameless = [reason for name, reason in errors if name is None]
    known = {*answered, *found}
    ours = asked is not None and asked.server_round == server_round and known <= {*asked.clients}
    silent = [name for name in asked.clients if name not in known] if asked and ours else []
    reasons = list(dict.fromkeys(nameless)) or [NO_REPLY]
    reason = reasons[0] if len(reasons) == 1 else "one of: " + "; ".join(reasons[:3])
    unknown = [f"unknown-{i}" for i in range(1, 1 + len(nameless) - len(silent))]
    known_to_fail = silent and len(nameless) >= len(
        silent
    )  # otherwise some of them only did not answer
    reasons_of = found | dict.fromkeys(silent, reason if known_to_fail else Absence(reason))
    reasons_of |= dict.fromkeys(
        unknown, Absence(reason)
    )  # it is not known to which client a reason belongs
    return {
        name: reasons_of[name] for name in sorted(reasons_of, key=lambda name: (len(name), name))
    }


def log_missing(
    server_round: int, failed: Mapping[str, str], dropped: Mapping[str, str], who: str = "client"
) -> None:
    """Log in one line each which clients failed in an evaluation, whose reply was dropped, and why."""
    for line in (
        [f"client {client} failed: {reason}" for client, reason in failed.items()],
        [f"dropped {who} {client}: {reason}" for client, reason in dropped.items()],
    ):
        if line:
            log(WARNING, "Evaluation %s: %s", server_round, in_one_line(line))


def errors_of_clients(failures: Iterable[Any]) -> Errors:
    """A failure of Flower's ``aggregate_fit`` API: an exception, or a reply with an error status."""
    return [_of_client(failure) for failure in failures]


def _of_client(failure: Any) -> tuple[str | None, str]:
    if isinstance(failure, BaseException):
        text = clip_error(f"{type(failure).__name__}: {failure}")
        return _client_in(failure.__traceback__), text
    name = None
    try:
        proxy, result = failure
        name = str(proxy.cid)
        return name, clip_error(f"status {result.status.code.name}: {result.status.message}")
    except Exception as error:  # something else in place of a reply
        return name, f"unreadable failure ({type(error).__name__})"


def _client_in(traceback: TracebackType | None) -> str | None:
    """The client of the call that raised an exception."""
    while traceback is not None:
        proxies = [v for v in traceback.tb_frame.f_locals.values() if isinstance(v, ClientProxy)]
        if len(proxies) == 1:
            return str(proxies[0].cid)
        traceback = traceback.tb_next
    return None


def failed_nodes(
    asked: Asked | None, server_round: int, replies: Sequence[Message]
) -> dict[str, str]:
    """Like :func:`who_failed`, for all messages that came in the Message API."""
    sent = {} if asked is None else _by_message_id(asked)
    errors = [_of_node(message, sent, asked) for message in replies if message.has_error()]
    answered = {str(m.metadata.src_node_id) for m in replies if not m.has_error()}
    return who_failed(asked, server_round, answered, errors)


def _by_message_id(asked: Asked) -> dict[str, str]:
    pairs = zip(asked.messages, asked.clients, strict=False)
    return {metadata.message_id: client for metadata, client in pairs if metadata.message_id}


def _of_node(
    message: Message, sent: Mapping[str, str], asked: Asked | None
) -> tuple[str | None, str]:
    node = str(message.metadata.src_node_id)
    known = asked is not None and node in asked.clients
    name = None if node == str(SUPERLINK) and not known else node
    reason = clip_error(message.error.reason)
    if message.error.code in UNREACHED:
        reason = Absence(reason)
    return sent.get(message.metadata.reply_to_message_id, name), reason
