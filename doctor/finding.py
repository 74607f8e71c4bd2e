"""Finding: the one value that every check returns, whatever it looked at."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from fnmatch import fnmatchcase


class Severity(StrEnum):
    """What it means for the run: it failed, it is degraded, or people merely ask about the message."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class Confidence(StrEnum):
    """How sure a match is to mean this failure."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class Role(StrEnum):
    """Whether the finding is a cause of its own, or reports that something else failed."""

    ROOT = "root"
    ECHO = "echo"
    EITHER = "either"


def is_named(id: str, patterns: Iterable[str]) -> bool:
    """Whether one of the ids or globs over ids, such as ``explains`` holds, names this one."""
    return any(fnmatchcase(id, pattern) for pattern in patterns)


@dataclass(frozen=True, slots=True)
class Lines:
    """A place in a log. Lines count from 1; rank, host and time come from the line's prefix where it has one.

    ``time`` is in seconds since the start of the year, in the log's own time zone: half of all stamps name no year.
    """

    path: str
    first: int
    last: int
    rank: int | None = None
    host: str | None = None
    time: float | None = None


def stamp(time: float) -> str:
    """A time of ``Lines`` as month, day and clock: 11-24 03:04:05.678."""
    return f"{datetime(2000, 1, 1) + timedelta(seconds=time):%m-%d %H:%M:%S.%f}"[:-3]


@dataclass(frozen=True, slots=True)
class Steps:
    """A place in a metric series: the global steps between which it shows."""

    path: str
    series: str
    first: int
    last: int
    run: int = 0


@dataclass(frozen=True, slots=True)
class Tensor:
    """A place in a checkpoint: a tensor, and the file that holds it."""

    path: str
    name: str


@dataclass(frozen=True, slots=True)
class Key:
    """A place in a configuration: a dotted key, and the line that sets it (0 where it is absent)."""

    path: str
    key: str
    line: int = 0


Place = Lines | Steps | Tensor | Key


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    ``evidence`` holds the clean lines that show it. ``ranks`` holds every rank that printed it, ``count`` how often it was
    printed over all ranks. ``cause``, ``fix`` and ``config`` are the signature's prose with its captures filled in.
    ``explained_by`` is the id of the finding that made this one an echo.
    """

    id: str
    title: str
    severity: Severity
    confidence: Confidence
    role: Role
    place: Place
    evidence: tuple[str, ...]
    cause: str
    fix: str
    config: str = ""
    count: int = 1
    ranks: tuple[int, ...] = ()
    captures: Mapping[str, str] = field(default_factory=dict)
    references: tuple[str, ...] = ()
    explains: tuple[str, ...] = ()
    explained_by: str | None = None
    fingerprint: str = ""
