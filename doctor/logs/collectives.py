"""Ranks that waited for each other in different collectives, as their tracebacks or watchdogs show it."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from doctor.facts import Facts, whole_number
from doctor.logs import unknown
from doctor.logs.records import Raised, Record
from doctor.logs.survival import Match
from doctor.waits import Call, Wait, missed

ID = "torch/collective-mismatch"
TIMEOUT = "gloo/timeout"
# What a rank prints that waited in vain, or whose peer left while it waited: with a traceback, and without one.
WAITED = frozenset({TIMEOUT, "gloo/peer-closed"})
WATCHED = frozenset({"nccl/watchdog-timeout", "nccl/p2p-hang", "nccl/remote-peer-closed"})

LEFT = "no other rank failed, so its peer had ended normally, without this collective"

_ON_THIS_HOST = re.compile(r"closed by (?:remote )?peer (?:localhost\b|\[?(?:127\.|::1\]|::ffff:127\.))")
_COLLECTIVE = re.compile(r"torch/distributed/distributed_c10d\.py")
# What of a traceback shows a collective that the user's code does not call by name: the path of a frame, and its name here.
_HIDDEN = (
    (re.compile(r"torch/autograd/graph\.py"), "the reduction of gradients in backward()"),
    (re.compile(r"torch/nn/parallel/distributed\.py"), "a collective of DistributedDataParallel itself"),
)


@dataclass(frozen=True, slots=True)
class Apart:
    """The match where it first shows that ranks called different collectives, the call of each, and what else there is to say."""

    match: Match
    calls: tuple[Call | Wait, ...]
    more: tuple[str, ...] = ()


def apart(matches: Sequence[Match], waits: Sequence[Wait], facts: Facts) -> Apart | None:
    """What the waits of a case show, where they show that ranks called different collectives, or one of them fewer."""
    waited = [match for match in matches if match.signature.id in WAITED]
    watched = [match for match in matches if match.signature.id in WATCHED]
    return _apart(waited, facts) or _left(waited, facts) or _watched(watched, waits, facts)


def _apart(waited: Sequence[Match], facts: Facts) -> Apart | None:
    """The first timeout and the calls of all ranks, where these differ."""
    first = next((match for match in waited if match.signature.id == TIMEOUT), None)
    tracebacks = [(match.record, match.confirmed.depth) for match in waited]
    calls = calls_apart(tracebacks, whole_number(facts, "world_size"))
    return Apart(first, calls) if first is not None and calls else None


def _left(waited: Sequence[Match], facts: Facts) -> Apart | None:
    """The wait of the only rank that failed, and its call."""
    for match in waited:
        call = call_left(match.record, match.confirmed.depth, facts)
        if call is not None:
            return Apart(match, (call,), (LEFT,))
    return None


def _watched(watched: Sequence[Match], waits: Sequence[Wait], facts: Facts) -> Apart | None:
    """The same by what NCCL's watchdogs print: numbers and operations of the ranks that waited, or who was left alone."""
    if not watched:
        return None
    awaited = missed(waits, whole_number(facts, "world_size"))
    if awaited and awaited.apart:
        return Apart(watched[0], awaited.apart)
    closed = next((match for match in watched if _ON_THIS_HOST.search(match.confirmed.text)), None)
    left = [wait for wait in waits if wait.operation and not wait.timed_out and _failed_alone(wait.rank, facts)]
    return Apart(closed, tuple(left), (LEFT,)) if closed and len(waits) == len(left) == 1 else None


def _failed_alone(rank: int | None, facts: Facts) -> bool:
    """Whether torchrun saw this rank fail, and no other."""
    failed, alone = (facts.get(f"failed.{key}") for key in ("rank", "alone"))
    return rank is not None and failed is not None and alone is not None and failed.value == rank


def calls_apart(waited: Iterable[tuple[Record, int]], world_size: int | None) -> tuple[Call, ...]:
    """The calls of all ranks, if they waited in different collectives, or at different lines of the program; empty if not, or
    if a rank is missing.

    ``waited`` are tracebacks of WAITED with the place in their chain; the first of each rank counts. Without
    ``world_size`` the ranks are those from 0 on.
    """
    calls: dict[int, Call] = {}
    for record, depth in waited:
        if record.rank is not None and record.chain:
            calls.setdefault(record.rank, _call(record.rank, record.chain[depth]))
    known = all(call.operation for call in calls.values())
    whole = sorted(calls) == list(range(world_size or len(calls)))
    apart = len({(call.operation, call.at) for call in calls.values()}) > 1
    return tuple(call for _, call in sorted(calls.items())) if known and whole and apart else ()


def call_left(record: Record, depth: int, facts: Facts) -> Call | None:
    """The call in which a rank was when its peer on the same host left, if torchrun saw no other rank fail; else None."""
    if record.rank is None or not record.chain or not _failed_alone(record.rank, facts):
        return None
    raised = record.chain[depth]
    return _call(record.rank, raised) if _ON_THIS_HOST.search(raised.text) else None


def _call(rank: int, raised: Raised) -> Call:
    frame = unknown.user_frame(raised)
    at = frame.at if frame else ""
    hidden = (name for path, name in _HIDDEN if any(path.search(one.path) for one in raised.frames))
    named = (one.function for one in raised.frames if _COLLECTIVE.search(one.path))
    return Call(rank, next(named, None) or next(hidden, ""), at)
