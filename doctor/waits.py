"""Who waited for whom: watchdog timeouts of collectives compared over all ranks.

A watchdog fires on the ranks that waited, so the rank to look at is the one that it does not name. Sequence numbers and the
last enqueued and completed work say which rank never came, which came late, and which came to another collective.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from doctor.finding import stamp


@dataclass(frozen=True, slots=True)
class Wait:
    """One rank's timeout in one process group. ``started`` is when it began to wait, in the unit of ``Lines.time``."""

    rank: int
    group: str = ""
    sequence: int | None = None
    operation: str = ""
    elements: int | None = None
    enqueued: int | None = None
    completed: int | None = None
    started: float | None = None


@dataclass(frozen=True, slots=True)
class Missed:
    """The ranks that others waited for (none, if all came to the same collective), and how that is known."""

    ranks: tuple[int, ...]
    sentence: str


def missed(waits: Sequence[Wait], world_size: int | None) -> Missed | None:
    """Who was waited for; None without waits. Compares all ranks of the group in which the wait began first."""
    if not waits:
        return None
    first = min(waits, key=lambda wait: (wait.started is None, wait.started or 0.0, wait.sequence or 0))
    group = {wait.rank: wait for wait in waits if wait.group == first.group}
    since = "" if first.started is None else f" from {stamp(first.started)} on"
    found = (
        _never_came(group, world_size)
        or _never_entered(group)
        or _came_to_another(group)
        or _came_late(group)
        or _all_came()
    )
    return Missed(found.ranks, f"{_named(sorted(set(group) - set(found.ranks)))} waited{since}. {found.sentence}")


def _never_came(group: dict[int, Wait], world_size: int | None) -> Missed | None:
    absent = tuple(rank for rank in range(world_size or 0) if rank not in group)
    if not absent or len(absent) >= (world_size or 0):
        return None
    return Missed(absent, f"{_named(absent)} printed no timeout: it was elsewhere, or gone.")


def _never_entered(group: dict[int, Wait]) -> Missed | None:
    """A rank with nothing in flight was outside of any collective: in data, in saving, in Python."""
    idle = tuple(
        r for r, wait in sorted(group.items()) if wait.enqueued is not None and wait.enqueued == wait.completed
    )
    if not idle or len(idle) == len(group):
        return None
    return Missed(idle, f"{_named(idle)} had completed all that it had enqueued, so it never entered the collective.")


def _came_to_another(group: dict[int, Wait]) -> Missed | None:
    """Another operation or size at the same sequence number means another path through the program."""
    calls = {rank: (wait.operation, wait.elements) for rank, wait in group.items() if wait.operation}
    same_sequence = len({wait.sequence for wait in group.values()}) == 1
    usual = Counter(calls.values()).most_common(1)
    other = tuple(rank for rank, call in sorted(calls.items()) if usual and call != usual[0][0])
    if not other or not same_sequence:
        return None
    return Missed(
        other, f"{_named(other)} called another collective at the same sequence number: its control flow differs."
    )


def _came_late(group: dict[int, Wait]) -> Missed | None:
    sequences = {rank: wait.sequence for rank, wait in group.items() if wait.sequence is not None}
    if len(set(sequences.values())) < 2:
        return None
    least = min(sequences.values())
    late = tuple(rank for rank, sequence in sorted(sequences.items()) if sequence == least)
    return Missed(late, f"{_named(late)} was behind, at sequence number {least}.")


def _all_came() -> Missed:
    return Missed((), "All of them were in the same collective, so the transport between them is what hangs.")


def _named(ranks: Sequence[int]) -> str:
    shown = ", ".join(map(str, ranks[:8])) + (f" and {len(ranks) - 8} more" if len(ranks) > 8 else "")
    return f"Rank {shown}" if len(ranks) == 1 else f"Ranks {shown}"
