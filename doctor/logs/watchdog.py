"""Watchdog timeouts in a log, as waits: what each rank waited in, and since when."""

import re
from dataclasses import replace

from doctor.logs.prefixes import Line
from doctor.waits import Wait

PATTERNS = (r"Watchdog caught collective operation timeout: ", r"last enqueued (?:NCCL )?work: ?")

_RANK = re.compile(r"\bRank (?P<rank>\d+)\]")
_GROUP = re.compile(r"PG GUID (?P<group>\w+)")
_WORK = re.compile(
    r"SeqNum=(?P<sequence>\d+), OpType=(?P<operation>\w+)(?:, NumelIn=(?P<elements>\d+))?.*?Timeout\(ms\)=(?P<timeout>\d+)"
)
_STATUS = re.compile(
    r"last enqueued (?:NCCL )?work: ?(?P<enqueued>-?\d+), last completed (?:NCCL )?work: ?(?P<completed>-?\d+)"
)


class WaitReader:
    """Collects the waits of a case, one for each rank and process group."""

    def __init__(self) -> None:
        self._waits: dict[tuple[int, str], Wait] = {}

    def take(self, line: Line, rank: int | None) -> None:
        """A line that one of PATTERNS was found in; ``rank`` is that of the log where the line names none."""
        named = _RANK.search(line.text)
        rank = line.rank if line.rank is not None else (int(named["rank"]) if named else rank)
        if rank is None:
            return
        found = _GROUP.search(line.text)
        key = (rank, found["group"] if found else "")
        self._waits[key] = _with(self._waits.get(key) or Wait(*key), line)

    def waits(self) -> tuple[Wait, ...]:
        """All waits, in the order of ranks."""
        return tuple(wait for _, wait in sorted(self._waits.items()))


def _with(wait: Wait, line: Line) -> Wait:
    """A wait with what a further line says of it."""
    work, status = _WORK.search(line.text), _STATUS.search(line.text)
    if work and wait.sequence is None:
        elements = None if work["elements"] is None else int(work["elements"])
        started = None if line.time is None else line.time - int(work["timeout"]) / 1000
        wait = replace(
            wait, sequence=int(work["sequence"]), operation=work["operation"], elements=elements, started=started
        )
    if status and wait.enqueued is None:
        wait = replace(wait, enqueued=int(status["enqueued"]), completed=int(status["completed"]))
    return wait
