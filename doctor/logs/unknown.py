"""Exceptions that no signature knows: which one came first, where in the user's code, and a fingerprint to tell it by."""

import re
from dataclasses import replace

from doctor.finding import Confidence, Finding, Lines, Role, Severity
from doctor.logs.prefixes import Line
from doctor.logs.records import Frame, Raised, Record
from doctor.masks import fingerprint

ID = "unknown/exception"
CUT = "unknown/traceback-cut"
LAST_LINE = "unknown/last-line"
STOPPED = "unknown/stopped"
LOGGED = "unknown/logged-error"
ABOVE = "unknown/last-words"

# An error that was logged among so many last lines is told of.
LATE = 10

# Launchers and wrappers raise these because something else failed.
_WRAPPERS = re.compile(
    r"(?:ChildFailedError|ProcessRaisedException|ProcessExitedException|CalledProcessError|SignalException|RayTaskError|"
    r"RayActorError|ActorDiedError|EngineDeadError|DistBackendError|DistNetworkError|DistStoreError|SystemExit|KeyboardInterrupt|"
    r"BrokenPipeError|Empty)"  # queue.Empty: whoever fills the queue does not
)
# A command that trains nothing: what it printed is not another failure of the run.
_TOOL = re.compile(
    r"CalledProcessError: Command '(?!.*(?:python|torchrun|accelerate|deepspeed|mpirun|srun|axolotl|\.py\b|\.sh\b|\b(?:ba)?sh\b))"
)
# Without a message and out of a connection it says that the process at the other end is gone; else that a file ends too early.
_LOST_PIPE = "EOFError"
_CONNECTION = re.compile(r"multiprocessing|concurrent|/socket|/ssl\.py|asyncio|rpyc|distributed")
_LONE = re.compile(r"(?P<type>(?:[A-Za-z_]\w*\.){0,8}[A-Z]\w*(?:Error|Exception)): \S.*")
# How shells and command-line tools begin to say that they failed.
_FAILED = re.compile(
    r"(?:\S*/)?(?:ba|da|k|z)?sh: (?:(?:-c: )?line )?\d+: \S|\S+\.(?:sh|bash|slurm|sbatch|job): line \d+: \S|"
    r"(?:\S*/)?(?:(?:ba|da|k|z)?sh|env): .+: (?:No such file or directory|Permission denied|command not found)|"
    r"[\w./-]{1,60}: (?:fatal )?error: \S|(?i:fatal|error)(?: \w{1,20})?: \S|"
    r"make(?:\[\d+\])?: \*\*\* \S|curl: \(\d+\) \S|"
    r"(?:tar|cp|mv|mkdir|rm|ln|cat|ssh|scp|rsync|git|unzip|wget|chmod|find|ls|touch|tee|grep): "
    r"(?i:cannot|can't|could not|unable to|failed to|error is not recoverable)\b"
)
# How far a progress bar, or a loop that counts its steps, has come.
_PROGRESS = re.compile(
    r"(\d+)/(\d+) ?(?:\[|- |\u2501|\u2500|\s{2,}\d+:\d\d:\d\d)|(?i:\b(?:step|iter(?:ation)?|batch)\b)[ :#=\[]*(\d+) ?(?:/|of) ?(\d+)"
)
_OTHERS = " The message above is the first exception of this traceback; the others follow from it."


def first_unknown(records: list[Record]) -> Record | None:
    """The record of the first failing rank, by time or else by line; a wrapper only if there is nothing else."""
    return min(records, key=_order, default=None)


def _order(record: Record) -> tuple[bool, float, str, int]:
    return is_echo(record), record.time or 0.0, record.path, record.line


def is_echo(record: Record) -> bool:
    """Whether the first exception of a traceback only says that another process or thread failed."""
    return bool(record.chain) and _is_wrapper(record.chain[0])


def _is_wrapper(raised: Raised) -> bool:
    if raised.text == _LOST_PIPE:
        return not raised.frames or _CONNECTION.search(raised.frames[-1].path) is not None
    return _WRAPPERS.fullmatch(raised.type.rpartition(".")[2]) is not None and not _TOOL.search(raised.text)


def finding(record: Record, records: list[Record]) -> Finding:
    """The finding of an exception that no signature knows; ``records`` are all like it."""
    raised, frame = record.chain[0], user_frame(record.chain[0])
    name = raised.type.rpartition(".")[2]
    at = f"{frame.at} in {frame.function}" if frame else ""
    seen = f"at {at}{': ' + frame.source if frame.source else ''}" if frame else ""
    found = _told(
        replace(record, line=raised.line),
        records,
        id=ID,
        title=f"{name}: an exception that no signature knows",
        evidence=tuple(part for part in (raised.text, seen) if part),
        cause=f"{name} was raised first{', in ' + at if at else ''}. No signature says why.",
        fix="Look at that line, and at what it was given." + (_OTHERS if len(record.chain) > 1 else ""),
        fingerprint=fingerprint(ID, raised.text, frame.function if frame else ""),
    )
    return replace(found, role=Role.ECHO if _is_wrapper(raised) else Role.EITHER, captures={"type": raised.type})


def _told(
    record: Record,
    records: list[Record],
    *,
    id: str,
    title: str,
    evidence: tuple[str, ...],
    cause: str,
    fix: str,
    fingerprint: str,
    severity: Severity = Severity.ERROR,
) -> Finding:
    """A finding of no signature: ``record`` is shown of ``records``, which are all like it."""
    return Finding(
        id=id,
        title=title,
        severity=severity,
        confidence=Confidence.LOW,
        role=Role.EITHER,
        place=Lines(record.path, record.line, record.last_line, record.rank, record.host, record.time),
        evidence=evidence,
        cause=cause,
        fix=fix,
        count=len(records),
        ranks=tuple(sorted({one.rank for one in records if one.rank is not None})),
        fingerprint=fingerprint,
    )


def lone(text: str, line: int) -> Raised | None:
    """The exception that a line without its traceback tells; None if it tells none."""
    found = _LONE.fullmatch(text)
    return Raised(found["type"], text, line, ()) if found else None


def says_failed(line: Line) -> bool:
    """Whether a line is what a shell, a tool or a logger prints when something failed."""
    return bool(line.text) and (line.says_error or _FAILED.match(line.text) is not None)


def last_line_finding(records: list[Record]) -> Finding:
    """The finding of logs that end with a message of failure; the first of them is shown."""
    record = min(records, key=_order)
    return _told(
        record,
        records,
        id=LAST_LINE,
        title="The log ends with a message of failure that no signature knows",
        evidence=(record.text,),
        cause="Nothing follows this line, so what it says most likely ended the run.",
        fix="Do what the line says. Of a file or program that is missing, look whether this machine or container has it.",
        fingerprint=fingerprint(LAST_LINE, record.text),
    )


def is_under_way(line: str) -> bool:
    """Whether a line shows progress that has not come to its end."""
    step, total = _progress(line)
    return step < total


def _progress(line: str) -> tuple[int, int]:
    """How far a line says that training came, and how far it is to go; zeros where it says neither."""
    shown = [[int(one) for one in found if one] for found in _PROGRESS.findall(line)]
    return (shown[-1][0], shown[-1][1]) if shown else (0, 0)


def stopped_finding(records: list[Record]) -> Finding:
    """The finding of logs that end in the middle of training without a word; the first of them is shown.

    A note: whoever watches a run that goes on sees no failure.
    """
    record = min(records, key=_order)
    step, total = _progress(record.text)
    return _told(
        record,
        records,
        id=STOPPED,
        title="The log stops in the middle of training",
        evidence=(record.text,),
        cause=f"No failure is in this input, which ends at {step} of {total}: the run still goes on, or something outside ended it "
        "without a word, such as the kernel for memory, a scheduler, or a lost connection.",
        fix="If it goes on, look again later; else find out what ended the process.",
        fingerprint=fingerprint(STOPPED, ""),
        severity=Severity.NOTE,
    )


def logged_finding(records: list[Record]) -> Finding:
    """The finding of logs in which a logger calls something an error shortly before the end; the first of them is shown.

    A note: the program went on, and its author may call an error what is none.
    """
    record = min(records, key=_order)
    return _told(
        record,
        records,
        id=LOGGED,
        title="An error was logged near the end, and the program went on",
        evidence=(record.text,),
        cause="The program calls this an error itself and caught it; no signature knows it, and nothing behind it fails.",
        fix="Look whether what was being done there (a save, an export, an evaluation) came to its end.",
        fingerprint=fingerprint(LOGGED, record.text),
        severity=Severity.NOTE,
    )


def above_finding(records: list[Record]) -> Finding:
    """The finding of what a run printed last before a launcher reports its failure. A note: it may be the reason or not."""
    place = replace(records[0], last_line=records[-1].last_line)
    return _told(
        place,
        [place],
        id=ABOVE,
        title="What the run printed last before its failure was reported",
        evidence=tuple(record.text for record in records),
        cause="A program that ends with a message of its own (sys.exit, an error of a library in C++) leaves no traceback, "
        "and a rank that others wait for may say what it is busy with.",
        fix="Look whether one of these lines says why.",
        fingerprint=fingerprint(ABOVE, records[-1].text),
        severity=Severity.NOTE,
    )


def cut(record: Record) -> bool:
    """Whether a record is a traceback whose exception is not in the log."""
    return bool(record.chain) and not record.chain[0].type


def cut_finding(records: list[Record]) -> Finding:
    """The finding of tracebacks that end before they say what was raised; the first of them is shown."""
    record = min(records, key=_order)
    raised, frame = record.chain[0], user_frame(record.chain[0])
    at = str(frame) if frame else ""
    found = _told(
        record,
        records,
        id=CUT,
        title="The log ends in the middle of a traceback",
        evidence=(f"at {at}",) if at else (),
        cause="An exception was on its way, and the log stops before the line that names it.",
        fix="Get the rest of the log: the exception stands behind the last frame. A copy may have been taken too early.",
        fingerprint=fingerprint(CUT, frame.function if frame else "", raised.frames[-1].function),
    )
    return replace(found, role=Role.ECHO)


def user_frame(raised: Raised) -> Frame | None:
    """The last frame outside installed packages; the last of all where every frame is inside one."""
    own = [frame for frame in raised.frames if not frame.is_installed]
    return next(reversed(own or raised.frames), None)
