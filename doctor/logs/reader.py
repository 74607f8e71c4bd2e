"""One log read block by block: the records that the scan's hits stand in, and what else the log says on the way."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from doctor.logs.block_lines import BlockLines
from doctor.logs.index import Index
from doctor.logs.marks import DONE, FACT, FRAMEWORK, LAUNCHER, MARK, PROGRESS, TRACEBACK
from doctor.logs.prefixes import Line
from doctor.logs.records import Record
from doctor.logs.run_facts import FactReader
from doctor.logs.source import Block
from doctor.logs.tracebacks import read_traceback

# Behind so many hits of one signature in one log, the rest is counted without being read.
MOST_READ = 20_000
# Logs up to this size are kept for a second pass.
MOST_KEPT = 4 * 1024 * 1024

_PATH_RANK = re.compile(r"rank[_-]?(\d+)|attempt_\d+/(\d+)/std(?:out|err)\.log", re.IGNORECASE)
_PATH_HOST = re.compile(r"\b((?:node|host|worker|gpu)[\w-]*?\d+)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A record in which the patterns of these signatures may be found (of none, for a traceback that nothing matches)."""

    record: Record
    ids: frozenset[str]


@dataclass(slots=True)
class Progress:
    """The last two lines on which training was seen to go on, and the last that said it is done; 0 where there is none."""

    before_last: int = 0
    last: int = 0
    done: int = 0


class LogReader:
    """Reads the blocks of one log in order.

    ``unread`` counts the hits of each signature that were too many to look at; ``kept`` is the whole log if it is small.
    """

    def __init__(self, path: str, index: Index, facts: FactReader) -> None:
        self.path = path
        self.lines = 0
        self.size = 0
        self.progress = Progress()
        self.unread: dict[str, int] = {}
        self.kept = bytearray()
        self._index = index
        self._facts = facts
        self._rank, self._host = _place_in_path(path)
        self._hits_seen: dict[str, int] = {}
        self._tracebacks: dict[int, Record] = {}
        self._first_framework = index.owners.index(FRAMEWORK)

    def read(self, blocks: Iterable[Block]) -> Iterator[Candidate]:
        """All candidates in the order of the log; a traceback comes with the block in which it starts."""
        ended = True
        for block in blocks:
            lines = BlockLines(block.data, self.lines + 1)
            yield from self._candidates(block, lines)
            if self.size <= MOST_KEPT:
                self.kept += block.data[: block.end]
            self.lines = lines.number(block.end) - 1
            self.size += block.end
            self._tracebacks = {number: record for number, record in self._tracebacks.items() if number > self.lines}
            ended = block.data.endswith(b"\n", 0, block.end)
        self.lines += not ended
        if self.size > MOST_KEPT:
            self.kept = bytearray()

    def _candidates(self, block: Block, lines: BlockLines) -> Iterator[Candidate]:
        """Hits behind the block's end count only if they stand in a traceback that starts before it."""
        known = frozenset(self._tracebacks)
        found: dict[Record, set[str]] = {}
        for owner, pattern, end in self._hits(block):
            number = lines.number(end - 1)
            record = self._tracebacks.get(number)
            if number in known:
                continue
            if record is None and end <= block.end:
                record = self._record(owner, pattern, end, number, lines)
            if record is not None:
                found.setdefault(record, set()).add(owner)
        for record, owners in found.items():
            yield Candidate(record, frozenset(owner for owner in owners if not owner.startswith(MARK)))

    def _hits(self, block: Block) -> Iterator[tuple[str, int, int]]:
        """(owner, pattern, end) of the hits worth looking at: of progress only the last two, of a flood the first ones."""
        hits, owners = self._index.scanner.hits(block.data), self._index.owners
        backwards = range(len(hits) - 1, -1, -1)
        progress = list(islice((n for n in backwards if owners[hits[n][0]] == PROGRESS and hits[n][1] <= block.end), 2))
        for n, (pattern, end) in enumerate(hits):
            owner = owners[pattern]
            if n in progress if owner == PROGRESS else self._wanted(owner):
                yield owner, pattern, end

    def _wanted(self, owner: str) -> bool:
        seen = self._hits_seen[owner] = self._hits_seen.get(owner, 0) + 1
        if seen > MOST_READ:
            self.unread[owner] = self.unread.get(owner, 0) + 1
        return seen <= MOST_READ

    def _record(self, owner: str, pattern: int, end: int, number: int, lines: BlockLines) -> Record | None:
        """The record of a hit outside any traceback that is known; None for marks, which are only noted."""
        if owner == TRACEBACK:
            return self._traceback(lines, end)
        if owner == FRAMEWORK:
            self._facts.take_framework(pattern - self._first_framework, self.path, number)
        elif owner == FACT:
            self._facts.take(lines.around(end), self.path, number, lines.behind(end))
        elif owner == LAUNCHER:
            self._facts.take_failure(self.path, number, lines.behind(end))
        elif owner == DONE:
            self.progress.done = number
        elif owner == PROGRESS:
            self.progress.before_last, self.progress.last = self.progress.last, number
        else:
            return self._placed(lines.around(end), number)
        return None

    def _placed(self, line: Line, number: int) -> Record:
        rank = self._rank if line.rank is None else line.rank
        return Record(self.path, number, number, line.text, rank, line.host or self._host, line.time)

    def _traceback(self, lines: BlockLines, end: int) -> Record | None:
        found = read_traceback(lines.following(end))
        if found is None:
            return None
        header = next(lines.following(end))[1]
        text = "\n".join(raised.text for raised in found.chain)
        rank = self._rank if header.rank is None else header.rank
        record = Record(
            self.path,
            min(found.lines),
            max(found.lines),
            text,
            rank,
            header.host or self._host,
            header.time,
            found.chain,
        )
        self._tracebacks.update(dict.fromkeys(found.lines, record))
        return record


def _place_in_path(path: str) -> tuple[int | None, str | None]:
    """Rank and host, where the log's path tells them: rank_3.log, attempt_0/3/stderr.log, node2/run.log."""
    rank, host = _PATH_RANK.search(path), _PATH_HOST.search(path)
    return (int(rank[1] or rank[2]) if rank else None), (host[1] if host else None)
