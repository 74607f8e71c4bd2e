"""Who waited for whom: what the watchdogs of collectives print, compared over all ranks.

A watchdog fires on the ranks that waited, so the rank to look at is the one that it does not name. Sequence numbers and the
last enqueued and completed work say which rank never came, which came late, and which came to another collective.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from doctor.finding import stamp

# Operations between two ranks: each rank counts its own, so that their numbers say nothing about other ranks.
PAIRWISE = frozenset({"SEND", "RECV", "COALESCED"})
# Operations that take as many elements from each rank; an all-to-all or a gather need not.
EVEN = frozenset({"ALLREDUCE", "BROADCAST", "REDUCE", "_ALLGATHER_BASE", "_REDUCE_SCATTER_BASE"})
# Collectives end in order and most of them with all ranks, so one rank is ahead of another by the one that hangs, and by the few
# that it only had to send: buffers that DDP broadcasts.
MOST_AHEAD = 4
# The process group of all ranks, where it is named; which ranks are in another one is not told.
EVERYBODY = frozenset({"", "0"})


@dataclass(frozen=True, slots=True)
class Call:
    """Where one rank stood: the operation that it was in, and the line of the user's code that called it."""

    rank: int
    operation: str
    at: str

    def __str__(self) -> str:
        return f"rank {self.rank} waited in {self.operation or 'a collective'}{self.at and f', called at {self.at}'}"


@dataclass(frozen=True, slots=True)
class Wait:
    """One rank's collective in one process group, as its watchdog tells it; ``timed_out`` where it waited in vain.

    ``sequence``, ``operation`` and ``elements`` are those of the collective that failed, ``at`` the line of the program that
    called it. ``started`` is when the rank began to wait, in the unit of ``Lines.time``.
    """

    rank: int
    group: str = ""
    sequence: int | None = None
    operation: str = ""
    elements: int | None = None
    enqueued: int | None = None
    completed: int | None = None
    started: float | None = None
    timed_out: bool = False
    at: str = ""

    @property
    def common(self) -> tuple[str, int | None]:
        """What all ranks that make the same call have in common."""
        return self.operation, self.elements if self.operation in EVEN else None

    def __str__(self) -> str:
        sizes = "" if self.elements is None else f" of {self.elements} element{'s' * (self.elements != 1)}"
        return str(Call(self.rank, f"{self.operation} number {self.sequence}{sizes}", self.at))


@dataclass(frozen=True, slots=True)
class Missed:
    """Who was waited for, if anybody: ``ranks`` as far as they are known, and ``unheard`` if they print no timeout themselves.

    ``waiting`` tells who waited, and since when; ``apart`` are the waits of ranks that called different collectives.
    """

    waiting: str
    sentence: str
    ranks: tuple[int, ...] = ()
    unheard: bool = False
    apart: tuple[Wait, ...] = ()


def missed(waits: Sequence[Wait], world_size: int | None) -> Missed | None:
    """Who was waited for; None where nobody waited. Compares all ranks of the group in which the wait began first."""
    in_vain = [wait for wait in waits if wait.timed_out]
    if not in_vain:
        return None
    first = min(in_vain, key=lambda wait: (wait.started is None, wait.started or 0.0, wait.sequence or 0))
    group = {wait.rank: wait for wait in waits if wait.group == first.group}
    waited = {rank: wait for rank, wait in group.items() if wait.timed_out}
    ranks = {wait.rank for wait in in_vain}
    absent = {wait.rank for wait in waits} - ranks
    if world_size and first.group in EVERYBODY:
        absent = set(range(world_size)) - set(waited)
    since = "" if first.started is None else f" from {stamp(first.started)} on"
    waiting = f"{_named(sorted(ranks - absent))} waited{since}."
    found = _never_entered(group) or _never_came(sorted(absent))
    if found:
        return Missed(waiting, found[1], found[0], unheard=True)
    if len(ranks) == 1:
        return Missed(waiting, "No other rank printed a timeout: one was elsewhere, or gone.", unheard=True)
    apart = different_calls(waited)
    return Missed(waiting, _all_came(waited, apart, len(ranks), world_size), apart=apart)


def different_calls(waited: Mapping[int, Wait]) -> tuple[Wait, ...]:
    """The waits, if they show that ranks called different collectives: another operation, size or line of the program under
    the same number, or numbers further apart than ranks can be that call the same. Old releases name no process group, and
    each group counts for itself."""
    if any(not wait.group for wait in waited.values()):
        return ()
    found = [wait for _, wait in sorted(waited.items()) if wait.operation and wait.operation not in PAIRWISE]
    numbers = {wait.sequence for wait in found if wait.sequence is not None}
    calls = {wait.common for wait in found}
    lines = {wait.at for wait in found if wait.at}
    same = len(numbers) == 1 and (len(calls) > 1 or len(lines) > 1)
    return tuple(found) if same or (numbers and max(numbers) - min(numbers) > MOST_AHEAD) else ()


_Said = tuple[tuple[int, ...], str]


def _never_entered(group: Mapping[int, Wait]) -> _Said | None:
    """A rank with nothing in flight was outside of any collective: in data, in saving, in Python."""
    idle = tuple(r for r, one in sorted(group.items()) if one.enqueued is not None and one.enqueued == one.completed)
    if not idle or len(idle) == len(group):
        return None
    return idle, f"{_named(idle)} had completed all that it had enqueued, so it never entered the collective."


def _never_came(absent: Sequence[int]) -> _Said | None:
    """The ranks that are known, and print no timeout."""
    return (tuple(absent), f"{_named(absent)} printed no timeout: it was elsewhere, or gone.") if absent else None


def _all_came(waited: Mapping[int, Wait], apart: Sequence[Wait], ranks: int, world_size: int | None) -> str:
    """What it means that several ranks waited, of which ``waited`` are in one group, and that nobody is known who did not."""
    if apart:
        return "They called different collectives: control flow differs between ranks."
    numbers = {rank: wait.sequence for rank, wait in waited.items() if wait.sequence is not None}
    pairwise = any(wait.operation in PAIRWISE for wait in waited.values())
    if len(set(numbers.values())) > 1 and not pairwise:
        late = [rank for rank, number in sorted(numbers.items()) if number == min(numbers.values())]
        return f"{_named(late)} {'was' if len(late) == 1 else 'were'} behind, at sequence number {numbers[late[0]]}."
    if len(waited) < ranks or (len({wait.common for wait in waited.values()}) > 1 and not pairwise):
        return "They were in different collectives, or in those of different process groups."
    if world_size is None:
        return "They were in the same collective: look for a rank that prints no timeout; if none is missing, the transport hangs."
    return "All of them were in the same collective, so the transport between them is what hangs."


def _named(ranks: Sequence[int]) -> str:
    shown = ", ".join(map(str, ranks[:8])) + (f" and {len(ranks) - 8} more" if len(ranks) > 8 else "")
    return f"Rank {shown}" if len(ranks) == 1 else f"Ranks {shown}"
