"""Several attempts in one log: a program that is started again, and appends, begins with the line with which it began before."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise

from doctor.logs.prefixes import behind_return, read_lines, time_of

# The opening line is the first with so many letters, among so many lines. One that comes more often opens nothing.
HEAD, LETTERS, MOST = 20, 8, 500
# The stamps before and behind a start are looked for in so many lines, and so many seconds apart.
NEAR, PAUSE = 50, 5.0
# Without a pause so many lines of the head must come again, so many seconds behind the start before: no rank starts so late.
SAME, LATE = 5, 120.0
# So many of the lines that say what the opening says must start an attempt, where several processes may say it.
ONCE = 0.8

_LETTER = re.compile(r"[^\W\d_]")
# Where several processes write, each may begin with the same lines, and they may all be started again by their launcher: only
# a line that comes once an attempt is then the opening of one.
_SEVERAL = re.compile(
    rb"torch[./]distributed|multiprocessing|concurrent|joblib|torchrun|deepspeed|mpirun|srun\b|accelerate launch|"
    rb"pid=\d|\[rank\d|\[default\d"
)
_NUMBER = re.compile(r"\d+")
# What may come again at any time: warnings, failures, bars, and what counts.
_ANY_TIME = re.compile(
    r"(?i)warn|error|exception|traceback|fail|killed|signal|not found|no such|\d%\||it/s|\b(?:epoch|step|iter|batch|loss)"
)


@dataclass(frozen=True, slots=True)
class Attempts:
    """Where in a log of ``lines`` lines each attempt starts: numbers of lines, the first is 1."""

    starts: tuple[int, ...] = (1,)
    lines: int = 0

    def of(self, line: int) -> int:
        """The number of the attempt that a line is in."""
        return bisect_right(self.starts, line) - 1

    def start_of(self, line: int) -> int:
        """The line with which the attempt starts that a line is in."""
        return self.starts[self.of(line)]

    def passed(self, line: int) -> bool:
        """Whether a later attempt has more lines than there are up to this one in its own: it got past what happened here."""
        own = self.of(line)
        later = pairwise((*self.starts[own + 1 :], self.lines + 1))
        return any(stop - start > line - self.start_of(line) for start, stop in later)


def attempts(log: bytes) -> Attempts:
    """The attempts in a log. A further one starts where the opening line comes again after a pause that time stamps show, or
    where the line behind it does so too, or, where there is no pause, the whole head."""
    lines = log.rstrip().split(b"\n")
    opening = next((n for n, raw in enumerate(lines[:HEAD]) if _says(_clean(raw))), None)
    if opening is None or _ANY_TIME.search(_clean(lines[opening])):
        return Attempts()
    again = list(islice(_again(lines, opening), MOST + 1))
    if not 0 < len(again) <= MOST:
        return Attempts()
    alone = not _SEVERAL.search(log)
    starts = [n for earlier, n in pairwise((opening, *again)) if _begins(lines, earlier, n, alone)]
    if not alone and len(starts) < ONCE * len(again):
        return Attempts()
    return Attempts((1, *(n + 1 for n in starts)), len(lines))


def _clean(raw: bytes) -> str:
    return read_lines(behind_return(raw))[0].text


def _says(text: str) -> bool:
    """Whether a line has words, unlike a date or the border of a table."""
    return len(_LETTER.findall(text)) >= LETTERS


def _again(lines: Sequence[bytes], opening: int) -> Iterator[int]:
    """The indices of the lines behind the opening that say the same but for numbers."""
    words = _NUMBER.split(_clean(lines[opening]))
    literal = max(words, key=len).encode()
    return (
        n for n in range(opening + 1, len(lines)) if literal in lines[n] and _NUMBER.split(_clean(lines[n])) == words
    )


def _begins(lines: Sequence[bytes], earlier: int, number: int, alone: bool) -> bool:
    """Whether the clock jumps before a line, or a whole head comes again late; without a clock, whether what follows does."""
    before = _stamp(reversed(lines[max(number - NEAR, 0) : number]))
    behind = _stamp(lines[number : number + NEAR])
    if before is None or behind is None:
        return alone and (_follows(lines, earlier, number) or _repeats(lines, earlier, number))
    return abs(behind - before) >= PAUSE or (
        alone and _is_late(lines, earlier, behind) and _repeats(lines, earlier, number)
    )


def _stamp(lines: Iterator[bytes] | Sequence[bytes]) -> float | None:
    """The first time that lines tell."""
    return next((time for time in map(time_of, lines) if time is not None), None)


def _follows(lines: Sequence[bytes], earlier: int, number: int) -> bool:
    """Whether what stands behind the earlier of two openings stands behind the other too."""
    first, second = (next(filter(_says, map(_clean, lines[at + 1 : at + HEAD])), None) for at in (earlier, number))
    return first is not None and first == second


def _repeats(lines: Sequence[bytes], earlier: int, number: int) -> bool:
    """Whether the head behind one of two openings comes again behind the other."""
    first, second = (_head(lines[at + 1 : at + HEAD]) for at in (earlier, number))
    return len(first) >= SAME and first == second


def _is_late(lines: Sequence[bytes], earlier: int, time: float) -> bool:
    """Whether a time is long behind that of an opening."""
    since = _stamp(lines[earlier : earlier + NEAR])
    return since is not None and time - since >= LATE


def _head(lines: Sequence[bytes]) -> list[list[str]]:
    """What the lines of a head say but for numbers, without those that may come at any time."""
    return [_NUMBER.split(text) for text in map(_clean, lines) if _says(text) and not _ANY_TIME.search(text)]
