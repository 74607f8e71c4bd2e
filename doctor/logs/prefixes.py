"""Lines made clean: colours, progress bars and prefixes gone; rank, host and time taken from the prefixes."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date

LONGEST_LINE = 32 * 1024
MOST_PREFIXES = 16
# A longer number in front of a line may also be a status code or a step: "404: Not Found".
SURE_DIGITS = 2

# CSI and OSC sequences, raw or as they stand in JSON strings and notebooks.
_ANSI = re.compile(
    r"(?:\x1b|\\u001[bB]|\\x1b|\\033)(?:\[[0-9;:?]*[ -/]*[@-~]|\][^\x07\x1b]{0,200}(?:\x07|\x1b\\)|[()][A-Z0-9])"
)
# Ray puts this behind a line that several workers printed.
_REPEATED = re.compile(r" ?\[repeated \d{1,9}x across cluster\](?: \(Ray deduplicates logs.*)?$")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u200b\u2028\u2029\ufeff]")

_STAMP = r"\d\d:\d\d:\d\d(?:[.,]\d{1,9})?"
_LEVEL = r"(?:DEBUG|INFO|WARNING|WARN|ERROR|CRITICAL)"

# One alternative a kind of prefix. A group's name up to its underscore says what it holds. All repeats are bounded.
_PREFIXES = (
    r"(?:> ?)+(?=\S|\s{2}|$)",  # a quoted ticket
    r"\[rank(?P<rank_torch>\d{1,6})\]:? ?",
    rf"(?P<level_word>{_LEVEL}):? ?(?=\[(?:rank|Rank|RANK)[:= ]?\d)",
    rf"(?P<level_basic>{_LEVEL}):(?=\d{{4}}-\d\d-\d\d[T ])",
    r"\[(?:default|trainer|worker)(?P<local_elastic>\d{1,6})\]: ?",
    r"\[[^\s,\]]{1,60},(?:mpirank:)?(?P<rank_mpi>\d{1,6})(?:,[^\s\]]{1,60})?\]<std(?:out|err)>: ?",
    r"\[(?P<rank_plain>\d{1,5})\](?: \[\d{1,5}\])? ",
    r"\[\d{1,5}/\d{1,5}\] ?",  # tmux
    r"\[\d+/\w+/\d+ \(pid \d+\)\] ?",  # Metaflow
    r"\[pod/(?P<host_pod>[^\]/\s]+)/[^\]\s]+\] ?",
    r"\((?P<label_ray>[^()\n]{0,80}?\bpid=\d+)(?:, ip=(?P<host_ray>[\w.:-]+))?[^()\n]{0,40}\) ?",
    r" {0,3}(?P<rank_slurm>\d{1,5}): ",
    # A bar with something glued to it; what its description says is no rank.
    r"(?:[^|\n:]{1,60}: {1,2})?\s{0,8}\d{1,3}%\|[^|\n]*\|\s*[\w.?]+/[\w.?]+ \[[^\]\n]*\]",
    r"(?P<label_compose>[a-z0-9][\w.-]{0,60}[-_]\d{1,6})\s+\| ?",
    r"\[?(?P<host_nccl>[A-Za-z0-9][\w.-]*):(?P<pid_nccl>\d+):\d+\]? \[(?P<local_nccl>\d{1,6})\] ?(?=NCCL|\S*\.cc)",
    # A host and a local rank; not a source file and its line, nor a device.
    r"\[?(?P<host_local>(?!(?:cuda|cpu|xla|xpu|npu|mps|hip|meta|[\w.-]*\.(?:py|cpp|cc|cu|h|hpp|c|rs|go)):)[a-z][\w.-]*)"
    r":(?P<local_host>\d{1,3})\]?: ",
    r"(?P<host_pdsh>[a-z][a-z0-9.-]{0,60}\d[a-z0-9.-]{0,60}): (?=\[|\s|Traceback|\d{4}-|[\w.]+(?:Error|Exception)\b)",
    rf"[^\s\d\[]?\[?(?P<day_iso>\d{{4}}[-/]\d\d[-/]\d\d)[T _](?P<clock_iso>{_STAMP})(?:Z|\s?[+-]\d\d:?\d\d)?[\]】]?:?"
    r"(?: std(?:out|err) [FP])? ?",
    r"\| (?=\d{4}-\d\d-\d\d )",
    rf"\| (?P<level_loguru>{_LEVEL}|SUCCESS|TRACE) {{0,5}}\| ?(?:[\w.<>]{{1,80}}:[\w.<>]{{1,80}}:\d+ - )?",
    rf"\[(?P<level_optuna>[DIWEC]) (?P<day_optuna>\d{{4}}-\d\d-\d\d) (?P<clock_optuna>{_STAMP})\] ?",
    rf"\[?(?P<day_us>\d\d/\d\d)/(?:\d\d){{1,2}} (?P<clock_us>{_STAMP})\]? ?",
    rf"- (?:[\w.]{{1,80}} - )?(?P<level_python>{_LEVEL})(?: - [\w.]{{1,80}})? - ",
    rf"\[?(?P<level_glog>[EWIFC])(?P<day_glog>\d{{3,4}}) (?P<clock_glog>{_STAMP})\s+(?:\d+\s+)?(?:[\w./<>-]+:\d+\] ?)?",
    rf"(?P<level_vllm>{_LEVEL}) (?P<day_vllm>\d\d-\d\d) (?P<clock_vllm>{_STAMP}) \[?[\w./-]+:\d+\] ?",
    rf"\[(?P<clock_bare>{_STAMP})\] ?",
    rf"\[(?P<level_bracket>{_LEVEL})(?:\|[^\]\n]{{0,80}})?\] ?",
    r"\[(?:PID|pid)[:=]? ?\d+\] ?",
    r"\[(?:RANK|Rank|rank)[:= ] ?(?P<rank_level>\d{1,6})\] ?",
    r"\[(?=[a-z_]+\.)[\w.]+(?::\d+)?(?::\w+)?\] ?",  # a logger's name, or file.py:123:function
    r"\[titan\] ?",
    r">> ?",
)
_PREFIX = re.compile("|".join(_PREFIXES))
# Three lines in a row that begin with numbers, and are not one line that comes again ("404: Not Found").
_TASK = rb"(?:\[?\d{4}-\d\d-\d\d[T ][\d:.,]+Z?\]? )? {0,3}\d{1,5}: "
_LABELLED = re.compile(rb"\n(%b[^\n]*)\n(?!\1\r?\n)%b[^\n]*\n%b" % (_TASK, _TASK, _TASK))

# A traceback of torch's hook behind a question or a bar that has no line end.
_GLUED = re.compile(r"(?<=\S)\s?(?=\[rank\d{1,6}\]: Traceback \(most recent call last\))")


_ERROR_LEVELS = {"ERROR", "CRITICAL", "E", "F", "C"}
_PROCESS = r"(?:\d{1,7} )?"  # its number, as logging prints it for %(process)d
_SAYS_LEVEL = re.compile(rf"{_PROCESS}{_LEVEL}\b")
_SAYS_ERROR = re.compile(rf"{_PROCESS}(?:ERROR|CRITICAL|FATAL)\b")


@dataclass(frozen=True, slots=True)
class Line:
    """One clean line. ``key`` tells the streams of one log apart: all that its prefixes say of the process.

    ``level`` is the one that a logger put before it.
    """

    text: str
    rank: int | None = None
    host: str | None = None
    time: float | None = None
    key: tuple[str, ...] = ()
    level: str = ""

    @property
    def says_error(self) -> bool:
        """Whether a logger put the level of an error before it, or it begins with one."""
        return self.is_error_record or _SAYS_ERROR.match(self.text) is not None

    @property
    def is_logged(self) -> bool:
        """Whether a logger put a level before it, or it begins with one."""
        return bool(self.level) or _SAYS_LEVEL.match(self.text) is not None

    @property
    def is_error_record(self) -> bool:
        """Whether a logger put the level of an error before it."""
        return self.level in _ERROR_LEVELS

    def with_text(self, text: str) -> "Line":
        """The same prefixes before another text."""
        return replace(self, text=text)


def decoded(raw: bytes) -> str:
    """Bytes of one line as text: broken UTF-8 replaced, control sequences gone, indentation kept."""
    text = raw[:LONGEST_LINE].decode("utf-8", "replace")
    if "\x1b" in text or "\\" in text:
        text = _ANSI.sub("", text)
    if "across cluster]" in text:
        text = _REPEATED.sub("", text)
    return _CONTROL.sub("", text).rstrip()


def behind_return(raw: bytes) -> bytes:
    """What of a raw line a terminal shows in the end: what stands behind its last carriage return."""
    return raw.rstrip(b"\r").rpartition(b"\r")[2]


def time_of(raw: bytes) -> float | None:
    """The time that the prefixes of a raw line tell."""
    return read_lines(raw)[0].time


def has_labels(data: bytes) -> bool:
    """Whether lines of a log begin with the numbers of their tasks, as ``srun -l`` puts them there."""
    return _LABELLED.search(b"\n" + data) is not None


def _always() -> bool:
    return True


def read_lines(raw: bytes, labelled: Callable[[], bool] = _always) -> list[Line]:
    """The clean lines in the bytes of one physical line: more than one where line ends are escaped in it.

    ``labelled`` tells whether a large number in front of a line is that of its task, as in logs of ``srun -l``.
    """
    text = decoded(raw)
    lines = [strip_prefixes(text, labelled)]
    glued = _GLUED.search(lines[0].text)
    if glued:
        asked = lines[0].text
        return [lines[0].with_text(asked[: glued.start()]), strip_prefixes(asked[glued.end() :], labelled)]
    if lines[0].text.startswith("{"):
        before = text.removesuffix(lines[0].text)
        lines = [strip_prefixes(before + one, labelled) for one in _unwrapped(lines[0].text)]
    return [piece for line in lines for piece in _unescaped(line)] or [Line("")]


def _unwrapped(text: str) -> list[str]:
    """The message in a line of JSON, as docker and structured loggers write it, behind its time and rank as prefixes."""
    try:
        table = json.loads(text)
    except (ValueError, RecursionError):
        return [text]
    message = next((table[key] for key in _MESSAGE_KEYS if isinstance(table.get(key), str)), None)
    parts = [message, *_tracebacks(table, message)]
    if parts == [None]:
        return [text]
    stamp = next((table[key] + " " for key in _TIME_KEYS if isinstance(table.get(key), str)), "")
    rank = next((f"[rank{table[key]}]: " for key in _RANK_KEYS if isinstance(table.get(key), int)), "")
    return [stamp + rank + one for part in parts for one in (part or "").splitlines()]


def _tracebacks(table: object, besides: str | None) -> Iterator[str]:
    """The tracebacks that structured loggers put into a field of their own (exc_info, exception, error.stack_trace)."""
    for value in table.values() if isinstance(table, dict) else ():
        if isinstance(value, dict):
            yield from _tracebacks(value, besides)
        elif isinstance(value, str) and _TRACEBACK in value and value != besides:
            yield value


_TRACEBACK = "Traceback (most recent call last)"
_MESSAGE_KEYS = ("log", "message", "msg", "text", "event", "textPayload")
_RANK_KEYS = ("rank", "global_rank")
_TIME_KEYS = ("time", "timestamp", "ts", "asctime", "@timestamp")


def _unescaped(line: Line) -> list[Line]:
    """A line that holds a whole traceback with its line ends escaped, as many lines."""
    head, found, tail = line.text.partition("Traceback (most recent call last):\\n")
    if not found:
        return [line]
    lines = [head + found[:-2], *tail.replace("\\'", "'").replace('\\"', '"').split("\\n")]
    return [line.with_text(text) for text in lines]


def strip_prefixes(text: str, labelled: Callable[[], bool] = _always) -> Line:
    """Take stacked prefixes off a line, and read what they say."""
    said: dict[str, str] = {}
    for _ in range(MOST_PREFIXES):
        found = _PREFIX.match(text)
        if found is None or (len(found["rank_slurm"] or "") > SURE_DIGITS and not labelled()):
            break
        said.update((name, value) for name, value in found.groupdict().items() if value is not None)
        text = text[found.end() :]
    if not said:
        return Line(text)
    return Line(text, _rank(said), _host(said), _time(said), _key(said), _first(said, "level") or "")


def _first(said: dict[str, str], kind: str) -> str | None:
    return next((value for name, value in said.items() if name.startswith(kind + "_")), None)


def _rank(said: dict[str, str]) -> int | None:
    """The global rank; a local rank only where no prefix tells the global one."""
    value = said.get("rank_torch") or _first(said, "rank") or said.get("local_elastic")
    return None if value is None else int(value)


def _host(said: dict[str, str]) -> str | None:
    return _first(said, "host")


def _key(said: dict[str, str]) -> tuple[str, ...]:
    return tuple(
        f"{name}={value}"
        for name, value in sorted(said.items())
        if not name.startswith(("day", "clock", "pid", "level"))
    )


def _time(said: dict[str, str]) -> float | None:
    """Seconds since the start of the year: glog stamps have no year, and all stamps of a log must compare."""
    day, clock = _first(said, "day"), _first(said, "clock")
    if day is None or clock is None:
        return None
    digits = re.sub(r"\D", "", day)[-4:].zfill(4)
    hours, minutes, seconds = clock.replace(",", ".").split(":")
    try:
        days = (date(2000, int(digits[:2]), int(digits[2:])) - date(2000, 1, 1)).days
    except ValueError:
        return None
    return days * 86400 + int(hours) * 3600 + int(minutes) * 60 + float(seconds)
