"""What the watchdogs of NCCL print, as waits: what each rank waited in, since when, and how far it had got."""

import re
from collections.abc import Iterable
from dataclasses import replace
from itertools import islice

from doctor.logs.prefixes import Line
from doctor.logs.records import Frame
from doctor.waits import Wait

PATTERNS = (
    r"Watchdog caught collective operation timeout: ",
    r"\) raised the following async exception: ",
    r"[Ll]ast enqueued (?:NCCL )?work: ?",
    r"Stack trace of the failed collective: ",
)

# A stack has one frame a line; longer ones are cut.
_DEEPEST = 80

_RANK = re.compile(r"\bRank (?P<rank>\d+)\]")
_GROUP = re.compile(r"PG GUID (?P<group>\w+)")
_WORK = re.compile(r"SeqNum=(?P<sequence>\d+), OpType=(?P<operation>\w+)(?:, NumelIn=(?P<elements>\d+))?")
_TIMEOUT = re.compile(r"caught collective operation timeout: .*?Timeout\(ms\)=(?P<timeout>\d+)")
_FAILED = re.compile(r"at work sequence id: (?P<sequence>\d+)")
_STATUS = re.compile(
    r"[Ll]ast enqueued (?:NCCL )?work: ?(?P<enqueued>-?\d+), last completed (?:NCCL )?work: ?(?P<completed>-?\d+)"
)
_STACK = re.compile(r"Stack trace of the failed collective: *$")
_FRAME = re.compile(r"#\d+ (?P<function>\S+) from (?P<path>.+):(?P<line>\d+)$")


class WaitReader:
    """Collects the waits of a case, one for each rank and process group."""

    def __init__(self) -> None:
        self._waits: dict[tuple[int, str], Wait] = {}
        self._last: dict[int, tuple[int, str]] = {}

    def take(self, line: Line, rank: int | None, behind: Iterable[Line] = ()) -> None:
        """A line that one of PATTERNS was found in; ``rank`` is that of the log where the line names none."""
        named = _RANK.search(line.text)
        rank = line.rank if line.rank is not None else (int(named["rank"]) if named else rank)
        if rank is None:
            return
        if _STACK.search(line.text):
            self._locate(rank, behind)
            return
        key = self._key(rank, line.text)
        self._waits[key] = _with(self._waits.get(key) or Wait(*key), line)
        self._last[rank] = key

    def waits(self) -> tuple[Wait, ...]:
        """All waits, in the order of ranks."""
        return tuple(wait for _, wait in sorted(self._waits.items()))

    def _key(self, rank: int, text: str) -> tuple[int, str]:
        """Rank and group. The line of a timeout names no group; the next one does, with the number of the same collective."""
        group, failed = _GROUP.search(text), _FAILED.search(text)
        key = (rank, group["group"] if group else "")
        timeout = self._waits.get((rank, ""))
        if group and failed and timeout and timeout.sequence == int(failed["sequence"]):
            del self._waits[rank, ""]
            known = self._waits.get(key) or timeout
            self._waits[key] = replace(timeout, group=key[1], enqueued=known.enqueued, completed=known.completed)
        return key

    def _locate(self, rank: int, behind: Iterable[Line]) -> None:
        """Note which line of the user's code called the collective that failed last on this rank."""
        key = self._last.get(rank)
        frame = next((frame for frame in _frames(behind) if not frame.is_installed), None)
        if key is not None and frame is not None and not self._waits[key].at:
            self._waits[key] = replace(self._waits[key], at=frame.at)


def _frames(lines: Iterable[Line]) -> Iterable[Frame]:
    """The frames of a stack that stands below its announcement, the innermost first."""
    for line in islice(lines, _DEEPEST):
        found = _FRAME.match(line.text)
        if found:
            yield Frame(found["path"], int(found["line"]), found["function"])
        elif line.text:
            return


def _with(wait: Wait, line: Line) -> Wait:
    """A wait with what a further line says of it."""
    work, timeout, status = (pattern.search(line.text) for pattern in (_WORK, _TIMEOUT, _STATUS))
    if work and wait.sequence is None:
        elements = None if work["elements"] is None else int(work["elements"])
        wait = replace(wait, sequence=int(work["sequence"]), operation=work["operation"], elements=elements)
    if work and timeout and not wait.timed_out:
        started = None if line.time is None else line.time - int(timeout["timeout"]) / 1000
        wait = replace(wait, started=started, timed_out=True)
    if status and wait.enqueued is None:
        wait = replace(wait, enqueued=int(status["enqueued"]), completed=int(status["completed"]))
    return wait
