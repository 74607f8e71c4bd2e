"""How long a log was silent before a record. Only time stamps tell, and only where nothing that may be progress stands between."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, takewhile

from doctor.logs.prefixes import behind_return, decoded, time_of

# So many lines before a record and behind it are looked at.
BEFORE, BEHIND = 2000, 500
# A silence counts if it is so many times as long as any before it: some logs have a line in half an hour.
LONGER = 3
# Loggers in different time zones are whole or half hours apart; seconds.
HALF_HOUR, NEAR = 1800.0, 30.0

_SIGNALLED = re.compile(r"death signal|closing signal|got signal|SIGINT|KeyboardInterrupt")
# Lines without a stamp that show no progress: those without a number, a bar at its start, and warnings with their place.
_IDLE = re.compile(r"\D*$|.*\b0%\|[^|]*\| 0/\S+ \[00:00<\?|\S+\.py:\d+: \w*Warning\b")


@dataclass(frozen=True, slots=True)
class Silence:
    """``seconds`` without a line, since a time as lines have it (seconds of the year)."""

    seconds: float
    since: float


def silence_before(log: bytes, number: int) -> Silence | None:
    """The silence that an interrupt in line ``number`` of a log ended, if time stamps tell it."""
    pieces = [behind_return(line) for line in log.split(b"\n", number + BEHIND)]
    first = max(number - 1 - BEFORE, 0)
    before, behind = pieces[first : number - 1], pieces[number - 1 : number + BEHIND]
    times = [time for time in map(time_of, before) if time is not None]
    until = _interrupted(behind)
    if not times or until is None or not _idle_at_end(before):
        return None
    longest = max((later - earlier for earlier, later in pairwise(times)), default=0.0)
    seconds = until - times[-1]
    zones = abs(seconds - HALF_HOUR * round(seconds / HALF_HOUR)) < NEAR
    return None if zones or seconds < LONGER * longest else Silence(seconds, times[-1])


def _idle_at_end(lines: Sequence[bytes]) -> bool:
    """Whether nothing behind the last line with a time may be progress. Clean lines have lost their bars, so raw ones tell."""
    unstamped = takewhile(lambda raw: time_of(raw) is None, reversed(lines))
    return all(_IDLE.match(decoded(raw)) for raw in unstamped)


def _interrupted(lines: Sequence[bytes]) -> float | None:
    """The time of the interrupt: that of its first line that has one. What is stamped later may be another run."""
    signalled = (time_of(raw) for raw in lines if _SIGNALLED.search(decoded(raw)))
    return next((time for time in signalled if time is not None), None)
