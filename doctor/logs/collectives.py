"""Ranks that waited for each other in different collectives, as their tracebacks show it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from doctor.facts import Facts
from doctor.logs import unknown
from doctor.logs.records import Raised, Record

ID = "torch/collective-mismatch"
TIMEOUT = "gloo/timeout"
# What a rank prints that waited in vain, or whose peer left while it waited.
WAITED = frozenset({TIMEOUT, "gloo/peer-closed"})

LEFT = "no other rank failed, so its peer had ended normally, after fewer collectives"

_ON_THIS_HOST = re.compile(r"closed by peer \[(?:127\.|::1\]|::ffff:127\.)")
_COLLECTIVE = re.compile(r"torch/distributed/distributed_c10d\.py")
_BACKWARD = re.compile(r"torch/autograd/graph\.py")


@dataclass(frozen=True, slots=True)
class Call:
    """Where one rank stood: the operation that it was in, and the line of the user's code that called it."""

    rank: int
    operation: str
    at: str

    def __str__(self) -> str:
        return f"rank {self.rank} waited in {self.operation or 'a collective'}{self.at and f', called at {self.at}'}"


def calls_apart(waited: Iterable[tuple[Record, int]], world_size: int | None) -> tuple[Call, ...]:
    """The calls of all ranks, if they waited in different collectives; empty if not, or if a rank is missing.

    ``waited`` are tracebacks of WAITED with the place in their chain; the first of each rank counts. Without
    ``world_size`` the ranks are those from 0 on.
    """
    calls: dict[int, Call] = {}
    for record, depth in waited:
        if record.rank is not None and record.chain:
            calls.setdefault(record.rank, _call(record.rank, record.chain[depth]))
    known = all(call.operation for call in calls.values())
    whole = sorted(calls) == list(range(world_size or len(calls)))
    apart = len({call.operation for call in calls.values()}) > 1
    return tuple(call for _, call in sorted(calls.items())) if known and whole and apart else ()


def call_left(record: Record, depth: int, facts: Facts) -> Call | None:
    """The call in which a rank was when its peer on the same host left, if torchrun saw no other rank fail; else None."""
    failed, alone = (facts.get(f"failed.{key}") for key in ("rank", "alone"))
    if failed is None or alone is None or failed.value != record.rank or record.rank is None or not record.chain:
        return None
    raised = record.chain[depth]
    return _call(record.rank, raised) if _ON_THIS_HOST.search(raised.text) else None


def _call(rank: int, raised: Raised) -> Call:
    frame = unknown.user_frame(raised)
    at = f"{frame.path}:{frame.line}" if frame else ""
    backward = any(_BACKWARD.search(one.path) for one in raised.frames)
    otherwise = "the reduction of gradients in backward()" if backward else ""
    return Call(rank, next((one.function for one in raised.frames if _COLLECTIVE.search(one.path)), otherwise), at)
