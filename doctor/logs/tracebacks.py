"""Multi-line exceptions, chained, per rank: each becomes one record, whatever stands between its lines."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from doctor.logs.prefixes import Line
from doctor.logs.records import Frame, Raised

HEADER = "Traceback (most recent call last)"

# What stands in front of the traceback of an exception that ends nothing: Python's words, those of the thread that reads what
# a child process prints on Windows, and those of a study whose trial failed, which prints the exception again if it was not
# meant to go on.
_IGNORED = re.compile(
    r"Exception ignored (?:in|on|while)\b|Exception in thread Thread-\d+ \(_readerthread\)|"
    r"Error in atexit\._run_exitfuncs:|\bTrial \d+ failed with parameters: "
)
_IN_THREAD = re.compile(r"Exception in thread \S")
# What a program prints that caught an exception and tries again, and what it prints if that was for the last time.
_RETRIED = re.compile(
    r"(?i)\b(?:re-?trying|trying (?:it )?(?:again|once more)|will (?:be )?retr(?:y|ied)|attempt \d+ ?(?:of|/) ?\d)"
)
_LAST_TRY = re.compile(r"(?i)\b(?:attempt|retry|try) (\d+) ?(?:of|/) ?\1\b|\bnot (?:re-?trying|trying)")
_FAILS = re.compile(r"(?i)error|fail|exit|signal|kill|abort|Traceback|giving up")

# How far a traceback may reach: over all lines, over its own, and over lines of others in a row.
MOST_LINES = 4000
MOST_OWN_LINES = 1200
MOST_MESSAGE_LINES = 60
MOST_APART = 100
# So many lines of others may stand between a header and its first frame.
MOST_BETWEEN = 3

_FRAME = re.compile(r'\s*File "(?P<path>[^"\n]+)", line (?P<line>\d{1,9})(?:, in (?P<function>.+))?')
_BOX_FRAME = re.compile(r"(?P<path>\S+\.py):(?P<line>\d{1,9}) in (?P<function>[\w.<>]+)")
_CELL_FRAME = re.compile(
    r"(?:File|Cell|Input) (?P<path>\S+?)(?:, line |:)(?P<line>\d{1,9})(?:, in (?P<function>[\w.<>]+))?"
)
_EXCEPTION = re.compile(
    r"(?P<type>(?:[A-Za-z_]\w*\.)*_?[A-Z]\w*|(?!self\.)(?:[a-z_]\w*\.)+[a-z]\w*)(?:: ?(?P<message>.*))?$"
)
_CHAIN = re.compile(r"The above exception was the direct cause|During handling of the above exception")
_NESTED = re.compile(r"Original Traceback \(most recent call last\)")
# Ray puts this between its own exception and the frames of the remote one.
_REMOTE = re.compile(r"\bray::[\w.<>]+\(\) \(pid=")
# torchrun's summary quotes what @record kept, and indents it.
_SUMMARY = re.compile(r"(\s+)traceback : Traceback")
# torch.multiprocessing.spawn quotes the traceback of its child behind this line.
_SPAWNED = re.compile(r"-- Process \d+ terminated with the following error:")
_BOX = "│╭╰─╮╯|┃"
_GROUP = re.compile(r"\s*(?:\+[-+]*(?: (?:\d+|\.\.\.) -+)?|\|)(?: |$)")
_BOX_SOURCE = re.compile(r"\s*❱\s*\d+\s*│?\s*")
_QUOTE_MARKS = ('"""', "'''")


@dataclass(frozen=True, slots=True)
class Traceback:
    """A traceback of one rank: its exceptions, the first that was raised first, and the lines that it took.

    Where the log ends among its frames, the only exception has no type and no text: nobody printed it.
    """

    chain: tuple[Raised, ...]
    lines: frozenset[int]


@dataclass(slots=True)
class _Open:
    """An exception whose lines are still being read."""

    nested: bool
    frames: list[Frame] = field(default_factory=list)
    type: str = ""
    message: list[str] = field(default_factory=list)
    line: int = 0
    boxed: bool = False
    cell: bool = False
    group: bool = False


def read_traceback(lines: Iterator[tuple[int, Line]]) -> Traceback | None:
    """The traceback whose header is the first line; the others are the numbered lines behind it, of all ranks.

    Lines of other streams (another rank, host or process in the prefix) are passed over. None if no exception is
    reached, as in text that only mentions one; but a traceback whose stream ends among its frames is one that was cut.
    """
    number, header = next(lines, (0, None))
    if header is None:
        return None
    reader, key = _Reader(number, header.text), header.key
    for n, (number, line) in enumerate(islice(lines, MOST_LINES)):
        if n == 0 and not line.key and _FRAME.match(line.text):
            key = ()  # a logger puts its prefix before the header only
        if line.key == key and not reader.take(number, line):
            break
    return reader.result() or (reader.cut() if next(lines, None) is None else None)


def ignores(before: str, *, done: bool = False) -> bool:
    """Whether the line before a traceback says that Python went on without the exception: in __del__, or at exit.

    Once the run is ``done``, a thread that ends with one costs nothing.
    """
    return _IGNORED.search(before) is not None or (done and _IN_THREAD.match(before) is not None)


def is_retried(before: str, behind: Sequence[str]) -> bool:
    """Whether the line before a traceback or the first behind it says that what failed is tried again, and the log goes on."""
    announced = _RETRIED.search(before) is not None
    follows = behind[:1] if announced else behind[1:]
    told = announced or any(_RETRIED.search(line) for line in behind[:1])
    return told and not _LAST_TRY.search(before) and any(not _FAILS.search(line) for line in follows[:1])


def with_announced(header: Line, before: Line) -> Line:
    """A header without prefixes, with those of the logger's line before it: of a record only the first line has them."""
    bare = not header.key and header.time is None
    return before.with_text(header.text) if before.says_error and bare else header


class _Reader:
    """Reads the lines of one stream; ``take`` says whether the traceback may go on."""

    def __init__(self, number: int, header: str) -> None:
        self._done: list[_Open] = []
        self._first = number
        self._lines: set[int] = {number}
        self._pending: list[int] = []
        self._style: tuple[bool, bool] | None = None
        self._chained = False
        self._strayed = 0
        self._spawned = False
        self._now = self._opened(header)
        summary = _SUMMARY.match(header)
        self._indent = summary[1] if summary else ""
        before = header.partition(HEADER.split()[0])[0]
        self._quoted = before if before.isspace() else ""

    def take(self, number: int, line: Line) -> bool:
        if len(self._lines) >= MOST_OWN_LINES:
            return False
        if self._now.type and self._lines == {self._first} and number != self._first:
            return False  # escaped into one line: the next one is another record
        style = (line.time is not None, bool(line.level))
        self._style = self._style or style
        if HEADER in line.text:
            return self._header(number, line.text)
        if self._quoted:  # a program that quotes a traceback indents all of it
            self._indent = self._quoted if line.text.startswith(f"{self._quoted}  File ") else ""
            self._quoted = ""
        text = self._undrawn(line.text.removeprefix(self._indent))
        going_on = self._message(text, style, number) if self._now.type else self._body(text, number)
        if going_on:
            self._lines.update([*self._pending, number] if text else [])
            self._pending = [] if text else [*self._pending, number]
        return going_on

    def result(self) -> Traceback | None:
        self._close()
        if not self._done:
            return None
        chain = [Raised(one.type, "\n".join(one.message), one.line, tuple(one.frames)) for one in self._done]
        return Traceback(tuple(chain), frozenset(self._lines))

    def cut(self) -> Traceback | None:
        """What is there of a traceback that ends among its frames: they are all known, what was raised is not."""
        if self._strayed or not self._now.frames:
            return None
        return Traceback((Raised("", "", max(self._lines), tuple(self._now.frames)),), frozenset(self._lines))

    def _opened(self, text: str) -> _Open:
        found = _Open(nested=_NESTED.search(text) is not None, boxed="─" in text)
        before = text.split(HEADER)[0].strip()
        found.group = _GROUP.match(text) is not None
        found.nested |= found.group and not before.endswith("Exception Group")
        if not found.boxed and re.fullmatch(r"[A-Z]\w+(?:Error|Exception|Interrupt|Exit)", before):
            found.cell = True
        return found

    def _close(self) -> None:
        """Put the exception just read into the chain: a nested one was raised before the one that quotes it."""
        if not self._now.type:
            return
        if self._now.nested and self._done:
            self._done.insert(len(self._done) - 1, self._now)
        else:
            self._done.append(self._now)

    def _header(self, number: int, text: str) -> bool:
        """Another header belongs to this traceback if it is chained, nested, or quoted in a message."""
        nested = self._spawned or _NESTED.search(text) is not None
        if self._now.type and not (self._chained or nested or self._now.group):
            return False
        self._close()
        self._now = self._opened(text)
        self._now.nested |= nested
        self._chained = self._spawned = False
        self._lines.add(number)
        return True

    def _undrawn(self, text: str) -> str:
        """A line without the box or the tree that is drawn around it. An exception never stands in a box."""
        if self._now.group:
            return _GROUP.sub("", text, count=1)
        if self._now.boxed:
            inside = text.strip()
            return f" {inside.strip(_BOX)}" if inside[:1] in _BOX else inside
        return text

    def _body(self, text: str, number: int) -> bool:
        """A line between the header and the exception: a frame, its source, or the exception itself."""
        frame = (
            _FRAME.match(text)
            or (self._now.boxed and _BOX_FRAME.match(text.strip()))
            or (self._now.cell and _CELL_FRAME.match(text))
        )
        if frame:
            self._now.frames.append(Frame(frame["path"], int(frame["line"]), (frame["function"] or "").strip()))
            return True
        exception = None if text[:1].isspace() or _REMOTE.search(text) else _EXCEPTION.match(text)
        if exception and (self._now.frames or (exception["message"] and not self._strayed)):
            self._now.type, self._now.line, self._now.message = exception["type"], number, [text]
            return True
        return self._source(text)

    def _source(self, text: str) -> bool:
        """A source line goes to the frame above it; of other lines that are not indented few may come before the first frame."""
        words = _BOX_SOURCE.sub("", text).strip()
        if self._now.frames and words and not self._now.frames[-1].source and self._is_source(text):
            last = self._now.frames[-1]
            self._now.frames[-1] = Frame(last.path, last.line, last.function, words)
            return True
        indented = not text or text[:1].isspace()
        self._strayed += not indented
        between = self._strayed <= MOST_BETWEEN or bool(self._now.frames)
        return indented or self._now.boxed or self._now.cell or between

    def _is_source(self, text: str) -> bool:
        """A box shows the lines around as well, and marks the one that ran."""
        return not self._now.boxed or _BOX_SOURCE.match(text) is not None

    def _message(self, text: str, style: tuple[bool, bool], number: int) -> bool:
        """A line behind the exception: more of its message, or the words that chain it to the next one."""
        if _CHAIN.search(text):
            self._chained = True
        if _SPAWNED.match(text):
            self._spawned = True
            self._now.message.append(text)
            return True
        if self._spawned:
            return not text.strip()
        if self._chained or not text.strip() or text in _QUOTE_MARKS:
            return True
        if (
            self._now.type in _ONE_LINE
            or self._pending
            or style != self._style
            or number > max(self._lines) + MOST_APART
            or _starts_anew(text)
        ):
            return False
        self._now.message.append(text)
        return len(self._now.message) < MOST_MESSAGE_LINES


# Python writes the message of these, or quotes it, on one line: what follows was printed by somebody else.
_ONE_LINE = frozenset({"NameError", "UnboundLocalError", "ZeroDivisionError", "ModuleNotFoundError", "KeyError"})

_ANEW = re.compile(
    r"\[?\d{4}-\d\d-\d\d|\[?[EWIF]\d{3,4} \d\d:|(?:DEBUG|INFO|WARNING|ERROR|CRITICAL)\b|\[(?:INFO|WARNING|ERROR|rank\d)|"
    r"\s*\d{1,3}%\||(?i:step|epoch|iter(?:ation)?)[ :=]{1,9}\d|Exception (?:ignored )?in |\S+: UserWarning|"
    r"(?i:train(?:ing|er)? (?:is |was |has )?(?:complete|finished|done)\b)|"
    r"wandb: ?|={10,}|-{10,}|\*{10,}|={3,} |\{'|srun:|slurmstepd:|Killed|Terminated$|\S+: line \d+:\s+\d+ [A-Z]|```"
)


def _starts_anew(text: str) -> bool:
    return _ANEW.match(text) is not None
