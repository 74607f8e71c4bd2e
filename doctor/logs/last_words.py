"""What a log says last, where nothing that is known tells why the run failed."""

import re
from collections.abc import Iterator
from dataclasses import replace

from doctor.finding import Finding
from doctor.logs import unknown
from doctor.logs.prefixes import Line
from doctor.logs.reader import LogReader
from doctor.logs.records import Record
from doctor.logs.survival import MatchedLog

# So many lines of the run's own are shown, of so many above a report of the launcher.
SHOWN, NEAR = 4, 30
_BORDER = "*=-_#~ "
# What libraries print, and bars.
_NOT_OWN = re.compile(
    r"\S+\.py:\d+: |\s*(?:warnings\.warn\(|File \")|(?:\S+ )?Tip: |.*(?:\d%\||(?:it|s|examples|steps?)/(?:s|it)\b)"
)

# A bar of datasets that has not come to its end; a report may be glued to it.
_PREPARES = re.compile(r"(?!.*100%\|)\s*[A-Z]\w[^\r\n]{0,300}?(?:examples|shards)/s\]")


def note_end(reader: LogReader, log: MatchedLog) -> None:
    """What the last line says: an exception that somebody copied without its traceback, that a command failed, how far it got."""
    record, line, raw = reader.last_line()
    known = any(match.record.line == record.line for match in log.matches)
    raised = None if known else unknown.lone(line.text, record.line)
    if raised is not None:
        log.unknown.append(replace(record, chain=(raised,)))
    elif not log.progress.done and not known and unknown.says_failed(line):
        log.last_line = record
    elif not log.progress.done and unknown.is_under_way(raw):
        log.stopped = replace(record, text=raw)
    else:
        log.logged = _logged_error(reader, log)


def _logged_error(reader: LogReader, log: MatchedLog) -> Record | None:
    """The first of the last lines that a logger calls an error and no signature knows."""
    known = {number for match in log.matches for number in range(match.record.line, match.record.last_line + 1)}
    late = (
        record for record, line in reader.last_lines(unknown.LATE) if line.is_error_record and record.line not in known
    )
    return next(late, None)


def findings(logs: list[MatchedLog]) -> Iterator[Finding]:
    """A message of failure that nothing follows, or else that a log stops in the middle of training, or else an error that was
    logged before the end."""
    failed = [log.last_line for log in logs if log.last_line is not None]
    stopped = [log.stopped for log in logs if log.stopped is not None]
    logged = [log.logged for log in logs if log.logged is not None]
    if failed:
        yield unknown.last_line_finding(failed)
    elif stopped:
        yield unknown.stopped_finding(stopped)
    elif logged:
        yield unknown.logged_finding(logged)


def above_reports(reader: LogReader, log: MatchedLog) -> list[Record]:
    """What the run printed itself behind its last step, before the first message that only reports a failure; of a log without
    one, at its end."""
    report = min((record.line for record in log.records()), default=reader.lines + 1)
    stepped = max((number for number, _ in log.progress.lines), default=0)
    lines = [one for one in reader.lines_before(report + 1, NEAR) if one[0].line > stepped]
    own = (_own(record, line, raw) for record, line, raw in lines if record.line < report or _PREPARES.match(raw))
    return [record for record in own if record is not None][-SHOWN:]


def _own(record: Record, line: Line, raw: str) -> Record | None:
    """What the program itself prints, no library or logger; of bars only those of data that are being prepared."""
    bar = _PREPARES.match(raw)
    if bar is not None:
        return replace(record, text=bar[0])
    said = line.says_error or not (line.is_logged or _NOT_OWN.match(line.text))
    return replace(record, text=record.text.strip()) if said and line.text.strip(_BORDER) else None


def above_finding(logs: list[MatchedLog], failed_rank: int | None) -> Iterator[Finding]:
    """What the rank that failed first printed last, or else what stands above the first report of it."""
    own = [log for log in logs if log.above and log.above[0].rank is not None and log.above[0].rank == failed_rank]
    reporting = [log for log in logs if log.above and log.records()]
    yield from (unknown.above_finding(log.above) for log in (own or reporting)[:1])
