"""What one log holds, and what of it training or a later attempt went on behind."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from doctor.finding import Role, Severity
from doctor.logs import unknown
from doctor.logs.attempts import Attempts
from doctor.logs.confirm import Confirmed
from doctor.logs.reader import Progress
from doctor.logs.records import Record
from doctor.masks import masked
from doctor.signature import Signature

# What is said of a failure that did not end the run, or not the run that the log ends with.
WENT_ON = " Training went on behind it, so it did not end this run."
AGAIN = " Training went on behind others like it, so it did not end this run."
CAUGHT = " It was caught or ignored where it was raised."
EARLIER = " It ended an earlier attempt; the log goes on with a later one, which got further or failed in its own way."


@dataclass(frozen=True, slots=True)
class Match:
    """A record in which a signature was found."""

    signature: Signature
    record: Record
    confirmed: Confirmed


@dataclass(slots=True)
class MatchedLog:
    """The matches of one log, and the tracebacks that nothing explains."""

    matches: list[Match] = field(default_factory=list)
    unknown: list[Record] = field(default_factory=list)
    unread: dict[str, int] = field(default_factory=dict)
    progress: Progress = field(default_factory=Progress)
    attempts: Attempts = field(default_factory=Attempts)
    skipped: dict[str, str] = field(default_factory=dict)
    last_line: Record | None = None
    stopped: Record | None = None
    logged: Record | None = None
    above: list[Record] = field(default_factory=list)

    def records(self) -> list[Record]:
        """What can be survived: every record that something was found in, or that nothing explains."""
        return [*(match.record for match in self.matches), *self.unknown]


# What is said of a record's failure because the run went on behind it; nothing where it did not.
Survived = Callable[[Record], str]
Survivals = list[tuple[MatchedLog, Survived]]


def survivals_of(logs: list[MatchedLog]) -> Survivals:
    """Each log, and whether training went on behind a record of it. A log without progress, such as a file of what a rank
    wrote to stderr, also asks the others that show the same lines: torchrun copies them into its own."""
    own = [(log, _survival(log)) for log in logs]
    gone = defaultdict[str, list[tuple[MatchedLog, int | None, str]]](list)
    for log, survived in own:
        for record in log.records():
            if why := survived(record):
                gone[record.text].append((log, record.rank, why))

    def with_copies(own_log: MatchedLog, survived: Survived) -> Survived:
        def copied(record: Record) -> str:
            others = ((rank, why) for log, rank, why in gone.get(record.text, ()) if log is not own_log)
            shown = (why for rank, why in others if rank in {record.rank, None} or record.rank is None)
            return survived(record) or next(shown, "")

        return copied

    return [(log, known if log.progress.lines or log.progress.done else with_copies(log, known)) for log, known in own]


def _survival(log: MatchedLog) -> Survived:
    """What went on behind a record: a later attempt, or training.

    Training did if later lines show it, unless only echoes stand behind those: then a rank died here while others trained on.
    What stands on the line of a step, and came before with other numbers, is a text that the run prints.
    """
    resumed, failures = log.progress.resumed(), _own_failures(log)
    latest = log.attempts.start_of(max(failures)) if failures else 0
    behind = [match for match in log.matches if match.record.line > resumed and not match.record.ignored]
    later = [match for match in behind if match.signature.severity is Severity.ERROR]
    raised = [record for record in log.unknown if record.line > resumed and not record.ignored]
    went_on = any(line > resumed for line in failures) or not (later or raised)
    relaunched = any(match.signature.role is Role.ECHO for match in later)
    logged = [record for record in log.records() if record.logged]
    seen = {record.text for record in logged if log.progress.survived(record)}
    caught = set() if relaunched else seen | _came_again(log, logged)
    steps = {line for line, _ in log.progress.lines}

    def quotes(record: Record) -> bool:
        return record.line in steps and not record.chain

    quoted = {masked(record.text) for record in log.records() if quotes(record) and log.progress.survived(record)}

    def survived(record: Record) -> str:
        if record.ignored:
            return CAUGHT
        if went_on and log.progress.survived(record):
            return WENT_ON
        if went_on and record.logged and (record.text in caught or (caught and not record.text)):
            return AGAIN
        if went_on and quotes(record) and masked(record.text) in quoted:
            return AGAIN
        return EARLIER if record.last_line < latest or log.attempts.passed(record.line) else ""

    return survived


def _came_again(log: MatchedLog, logged: list[Record]) -> set[str]:
    """The texts that a logger printed both before and behind a step of the same attempt."""
    if len(log.attempts.starts) > 1:
        return set()
    steps = [line for line, _ in log.progress.lines]
    first = {record.text: record.last_line for record in reversed(logged)}
    return {one.text for one in logged if any(first[one.text] < step < one.line for step in steps)}


def _own_failures(log: MatchedLog) -> list[int]:
    """The lines of failures that no other one caused."""
    known = [match for match in log.matches if match.signature.severity is Severity.ERROR]
    records = [match.record for match in known if match.signature.role is not Role.ECHO]
    records += [record for record in log.unknown if not unknown.is_echo(record)]
    return [record.line for record in records if not record.ignored]
