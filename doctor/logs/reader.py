"""One log read block by block: the records that the scan's hits stand in, and what else the log says on the way."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import dropwhile, islice, tee
from typing import TYPE_CHECKING

from doctor.logs.block_cuts import Block, LogBlock
from doctor.logs.block_lines import BlockLines
from doctor.logs.block_scan import LAST_PROGRESS, BlockScanner, Scanned
from doctor.logs.index import Index
from doctor.logs.marks import DONE, FACT, LAUNCHER, MARK, METRIC, TRACEBACK, WATCHDOG
from doctor.logs.prefixes import Line, behind_return, decoded, read_lines
from doctor.logs.records import Record
from doctor.logs.run_facts import FactReader
from doctor.logs.scan_ahead import scan_ahead
from doctor.logs.tracebacks import HEADER, ignores, is_retried, read_traceback, with_announced
from doctor.logs.watchdog import WaitReader

# Behind so many lines with hits of one signature in one log, the rest is counted without being read.
MOST_READ = 20_000
OWN_STEPS = 2
MANY_STEPS = 8
# A program says what it is at the start of its log.
HEAD = 128 * 1024
# torchrun's summary ends with BORDER; TEE is how the key of a line begins that --tee copied.
BORDER, TEE = "=====", "local_elastic="
# The last line is looked for in so much of a log.
TAIL = 64 * 1024
# Logs up to this size are kept for a second pass.
MOST_KEPT = 4 * 1024 * 1024

# A line that quotes the exception for which one sample, file, step or trial was left out, or another put in its place.
_SKIPS = re.compile(
    r"(?:(?!Error|Exception).){0,80}\b(?:(?i:skipp(?:ing|ed)|ignor(?:ing|ed)|dropp(?:ing|ed)|leaving out)\b.{1,300}?: "
    r"(?:\w+\.)*\w*(?:Error|Exception)\b|Trial \d+ failed with parameters: )|"
    r".{0,80}\w(?:Error|Exception)\b.{0,300}[;,)-] ?(?:using|replaced (?:by|with)|replacing it|skipp(?:ed|ing)|ignored) [\w ]{0,40}$"
)
_PATH_RANK = re.compile(r"rank[_-]?(\d+)|attempt_\d+/(\d+)/std(?:out|err)\.log", re.IGNORECASE)
_PATH_HOST = re.compile(r"\b((?:node|host|worker|gpu)[\w-]*?\d+)\b", re.IGNORECASE)


if TYPE_CHECKING:
    from doctor.logs.metric_columns import MetricColumns
    from doctor.logs.metric_points import MetricReader
    from doctor.points import Points


@dataclass(frozen=True, slots=True)
class Candidate:
    """A record in which the patterns of these signatures may be found (of none, for a traceback that nothing matches)."""

    record: Record
    ids: frozenset[str]


@dataclass(slots=True)
class Progress:
    """The last lines on which training was seen to go on, with their ranks, and the last that said it is done (or 0)."""

    lines: deque[tuple[int, int | None]] = field(default_factory=lambda: deque(maxlen=LAST_PROGRESS))
    done: int = 0

    def resumed(self) -> int:
        """The line behind which at most one step is seen."""
        return max(self.done, self.lines[-2][0] if len(self.lines) > 1 else 0)

    def survived(self, record: Record) -> bool:
        """Whether the process of a record trained on behind it: it took two steps, or all together took many.

        Other ranks may get a step or two further before they notice that one is gone.
        """
        last = max((raised.line for raised in record.chain), default=record.last_line)
        later = [rank for number, rank in self.lines if number > last]
        own = [rank for rank in later if record.rank in (None, rank)]
        return self.done > last or len(own) >= OWN_STEPS or len(later) >= MANY_STEPS


class LogReader:
    """Reads the blocks of one log in order.

    ``unread`` counts the lines with hits of each signature that were too many to look at. ``kept`` is the whole log if it
    is small.
    """

    def __init__(self, path: str, index: Index, facts: FactReader, waits: WaitReader) -> None:
        self.path = path
        self.lines = 0
        self.size = 0
        self.progress = Progress()
        self.unread: dict[str, int] = {}
        self.kept = b""
        self._tail = b""
        self._scanner = BlockScanner(index.scanner, index.owners)
        self._facts = facts
        self._waits = waits
        self._rank, self._host = _place_in_path(path)
        self._lines_seen: dict[str, int] = {}
        self._last_seen: dict[str, int] = {}
        self._tracebacks: dict[int, Record] = {}
        self._metrics: MetricReader | None = None
        self._labelled = False
        self._late = False

    def read(self, blocks: Iterable[LogBlock]) -> Iterator[Candidate]:
        """All candidates in the order of the log; a traceback comes with the block in which it starts."""
        kept = bytearray()
        last: LogBlock = Block(b"", 0)
        for block, scanned in scan_ahead(self._scanner, blocks):
            if not self.size:
                self._facts.take_framework(block.data[:HEAD].decode("utf-8", "replace"), self.path)
            lines = BlockLines(block, self.lines + 1, scanned.newlines, self._labelled or None)
            if scanned.metrics is not None:
                self._take(scanned.metrics)
            yield from self._candidates(block, scanned, lines)
            self._labelled = bool(lines.labelled or scanned.labelled)
            if self.size <= MOST_KEPT:
                kept += block.data[block.start : block.end]
            self.lines += scanned.newlines
            self.size += block.end - block.start
            self._tracebacks = {number: record for number, record in self._tracebacks.items() if number > self.lines}
            last = block
        self._tail = last.data[max(last.start, last.end - TAIL) : last.end]
        self.lines += bool(self._tail) and not self._tail.endswith(b"\n")
        self.kept = bytes(kept) if self.size <= MOST_KEPT else b""

    def points(self) -> Points | None:
        """The metrics of this log; None if it has none."""
        return None if self._metrics is None else self._metrics.points()

    def end(self) -> bytes:
        """The whole log if it is small, else its last lines."""
        return self.kept or self._tail

    def last_line(self) -> tuple[Record, Line, str]:
        """The last line that holds more than white space: as a record, clean, and as it stands behind its last carriage return."""
        tail = self._tail.rstrip()
        empty = self._tail.count(b"\n", len(tail)) - self._tail.endswith(b"\n")
        number = self.lines - max(empty, 0)
        lines = BlockLines(Block(tail, len(tail)), number, 0)
        line, (start, stop) = lines.around(len(tail)), lines.piece(len(tail))
        return self.placed(line, number, number), line, decoded(tail[start:stop]).strip()

    def lines_before(self, number: int, most: int) -> list[tuple[Record, Line, str]]:
        """The lines in front of one, each as a record, clean, and as it stands behind its last carriage return; none of a log
        that is too large to be kept."""
        first = max(number - most, 1)
        pieces = self.kept.split(b"\n", number - 1)[first - 1 : number - 1]
        return [(*self._clean(raw, at), decoded(behind_return(raw))) for at, raw in enumerate(pieces, first)]

    def last_lines(self, most: int) -> list[tuple[Record, Line]]:
        """The last lines, each as a record and clean."""
        pieces = self._tail.removesuffix(b"\n").split(b"\n")[-most:]
        return [self._clean(raw, number) for number, raw in enumerate(pieces, self.lines - len(pieces) + 1)]

    def _clean(self, raw: bytes, number: int) -> tuple[Record, Line]:
        line = read_lines(raw)[-1]
        return self.placed(line, number, number), line

    def _take(self, metrics: MetricColumns) -> None:
        if self._metrics is None:
            from doctor.logs.metric_points import MetricReader

            self._metrics = MetricReader(self.path)
        self._metrics.take(metrics, self.lines + 1)

    def _candidates(self, block: LogBlock, scanned: Scanned, lines: BlockLines) -> Iterator[Candidate]:
        """Hits behind the block's end count only if they stand in a traceback that starts before it."""
        known = frozenset(self._tracebacks)
        found: dict[tuple[Record, int], set[str]] = {}
        for owner, end in scanned.hits:
            step = scanned.steps[end] if owner == METRIC else None
            number = self.lines + 1 + step[0] if step else lines.number(end - 1)
            record = self._tracebacks.get(number)
            if number in known or (record is None and end > block.end) or not self._wanted(owner, number):
                continue
            if step and record is None:
                self._went_on(owner, step[1], number)
                continue
            if owner == DONE and _is_below(number, record):
                self._went_on(owner, lines.around(end), number)
                continue
            record = record or self._record(owner, end, number, lines)
            if record is not None:
                at = 0 if record.chain else lines.piece(end)[0]  # equal pieces of a line are several records
                found.setdefault((record, at), set()).add(owner)
        for (record, _), owners in found.items():
            yield Candidate(record, frozenset(owner for owner in owners if not owner.startswith(MARK)))

    def _wanted(self, owner: str, number: int) -> bool:
        """Whether a hit is to be looked at; of a flood only the first lines are, and the others counted."""
        if self._last_seen.get(owner) != number:
            self._last_seen[owner] = number
            self._lines_seen[owner] = self._lines_seen.get(owner, 0) + 1
            if self._lines_seen[owner] > MOST_READ:
                self.unread[owner] = self.unread.get(owner, 0) + 1
        return self._lines_seen[owner] <= MOST_READ

    def _record(self, owner: str, end: int, number: int, lines: BlockLines) -> Record | None:
        """The record of a hit outside any traceback that is known; None for marks, which are only noted."""
        if owner == TRACEBACK:
            return self._traceback(lines, end)
        if owner == FACT:
            self._facts.take(lines.around(end), self.path, number, lines.behind(end))
        elif owner == LAUNCHER:
            self._facts.take_failure(self.path, number, lines.behind(end))
            self._late = _says_tee(_behind_summary(lines.behind(end)))
        elif owner == WATCHDOG:
            self._waits.take(lines.around(end), self._rank, (line for _, line in lines.behind(end)))
        elif not owner.startswith(MARK):
            line = lines.around(end)
            return replace(self.placed(line, number, number), ignored=_SKIPS.match(line.text) is not None)
        return None

    def _went_on(self, owner: str, line: Line, number: int) -> None:
        """Note that training goes on or is done, unless the line only comes late: torchrun gave up, and what it had read of its
        ranks is printed behind that."""
        self._late = self._late and _says_tee(line)
        if self._late:
            return
        if owner == DONE:
            self.progress.done = number
        elif not self.progress.lines or self.progress.lines[-1][0] < number:
            self.progress.lines.append((number, self.placed(line, number, number).rank))

    def placed(self, line: Line, first: int, last: int) -> Record:
        """A line as a record, with the rank and host of the log's path where its own prefixes tell none."""
        rank = self._rank if line.rank is None else line.rank
        return Record(self.path, first, last, line.text, rank, line.host or self._host, line.time)

    def _traceback(self, lines: BlockLines, end: int) -> Record | None:
        own, again = tee(_from_header(lines.following(end)))
        found = read_traceback(own)
        if found is None:
            return None
        self._facts.take_frames((frame for raised in found.chain for frame in raised.frames), self.path)
        header, before = next(again)[1], lines.before(end)
        header = header if before is None else with_announced(header, before)
        text = "\n".join(raised.text for raised in found.chain)
        placed = self.placed(header.with_text(text), min(found.lines), max(found.lines))
        behind = (line.text for number, line in again if number > placed.last_line and line.text)
        gone = before is not None and (
            ignores(before.text, done=self.progress.done > 0) or is_retried(lines.above(end), list(islice(behind, 2)))
        )
        record = replace(
            placed,
            chain=found.chain,
            ignored=gone,
            logged=bool(header.level) or (before is not None and before.is_logged),
        )
        self._tracebacks.update(dict.fromkeys(found.lines, record))
        return record


def _is_below(number: int, record: Record | None) -> bool:
    """Whether a line is none of a traceback's own: what stands below its last exception may be a message's further lines or not."""
    return record is None or number > max((raised.line for raised in record.chain), default=0)


def _from_header(lines: Iterator[tuple[int, Line]]) -> Iterator[tuple[int, Line]]:
    """The lines from the header of a traceback on: a question may stand in front of it on its own line."""
    return dropwhile(lambda numbered: HEADER not in numbered[1].text, lines)


def _behind_summary(lines: Iterator[tuple[int, Line]]) -> Line:
    """The first line behind torchrun's summary, which ends with a border; an empty one if there is none."""
    inside = dropwhile(lambda numbered: not numbered[1].text.startswith(BORDER), lines)
    return next((line for _, line in islice(inside, 1, None) if line.text), Line(""))


def _says_tee(line: Line) -> bool:
    """Whether torchrun copied a line from the output of a rank."""
    return any(part.startswith(TEE) for part in line.key)


def _place_in_path(path: str) -> tuple[int | None, str | None]:
    """Rank and host, where the log's path tells them: rank_3.log, attempt_0/3/stderr.log, node2/run.log."""
    rank, host = _PATH_RANK.search(path), _PATH_HOST.search(path)
    return (int(rank[1] or rank[2]) if rank else None), (host[1] if host else None)
