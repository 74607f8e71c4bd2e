"""The multi-pattern scan: every pattern of every signature in one Hyperscan database, blocks in, hits out."""

import os
import re
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import hyperscan

from doctor.errors import SignatureError
from doctor.logs.source import Block

# Hyperscan lets go of the interpreter while it scans.
THREADS = min(4, os.cpu_count() or 1)

# Named groups, anchors and what may follow the last literal: Hyperscan needs none of it to find the line.
_NAMED = re.compile(r"\(\?P<\w+>")
_ANCHORS = re.compile(r"(?<!\\)(?:\^|\$)(?![^\[]*\])")
_TAIL = re.compile(
    r"(?<!\\)(?:\.[*+]\??|\\[SdDwW][*+]\??|\(\?:(?:\\[SdDwW]|\.|\[[^\]()]*\])[*+]\??\)|\[[^\]()]*\][*+]\??)+$"
)

# Squeezed patterns: what they lose, what they may not have, and the letters they need to be told from chance.
_SPACES = re.compile(r"(?:\\s[*+?]?|\[ \\t\][*+?]?| [*+?]?)")
_WILD = re.compile(r"(?<!\\)\.[*+{]|\\S[*+]|\[\^[^\]]*\][*+]|\\[bB]|\(\?[=!<]")
_LETTER = re.compile(r"(?<!\\)[A-Za-z_]")
LEAST_LETTERS = 16


# In no squeezed text: what a database without patterns holds instead, as Hyperscan makes no empty one.
NOWHERE = r"\x00\x00no pattern"


class Scanner:
    """A compiled database. Threads may scan at the same time: each has a copy of its own, since scanning locks it."""

    def __init__(self, dumped: bytes) -> None:
        self._dumped = dumped
        self._own = threading.local()
        self._own.database = _loaded(dumped)

    def hits(self, data: bytes) -> list[tuple[int, int]]:
        """(pattern number, end offset) of every match, in the order of their ends."""
        found: list[tuple[int, int]] = []
        append = found.append
        if not hasattr(self._own, "database"):
            self._own.database = _loaded(self._dumped)
        self._own.database.scan(data, lambda number, start, end, flags, context: append((number, end)))
        return found

    def dump(self) -> bytes:
        """The database as bytes, for ``load``."""
        return self._dumped


def _loaded(dumped: bytes) -> hyperscan.Database:
    database = hyperscan.loadb(dumped, hyperscan.HS_MODE_BLOCK)
    database.scratch = hyperscan.Scratch(database)
    return database


def load(dumped: bytes) -> Scanner:
    """A scanner from ``dump``'s bytes; hyperscan.error if this machine or library can't use them."""
    return Scanner(dumped)


def compile_patterns(patterns: Sequence[str], names: Sequence[str]) -> Scanner:
    """One database for all patterns; SignatureError names the one that can't be scanned for."""
    expressions = [widened(pattern).encode() for pattern in patterns]
    flags = [_flags(expression, name) for expression, name in zip(expressions, names, strict=True)]
    if not expressions:
        return compile_patterns([NOWHERE], ["none"])
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    database.compile(expressions=expressions, ids=list(range(len(expressions))), flags=flags)
    return Scanner(bytes(hyperscan.dumpb(database)))


@dataclass(frozen=True, slots=True)
class Scanned:
    """What a scan finds in a block: its hits, and the number of line ends between its start and its end."""

    hits: list[tuple[int, int]]
    newlines: int


def scan_ahead(scanner: Scanner, blocks: Iterable[Block]) -> Iterator[tuple[Block, Scanned]]:
    """Blocks with what is in them, in order; while one is looked at, the next are read and scanned by other threads."""

    def scan(block: Block) -> Scanned:
        return Scanned(scanner.hits(block.data), block.data.count(b"\n", block.start, block.end))

    ahead: deque[tuple[Block, Future[Scanned]]] = deque()
    with ThreadPoolExecutor(THREADS) as pool:
        for block in blocks:
            ahead.append((block, pool.submit(scan, block)))
            if len(ahead) > THREADS:
                first, scanned = ahead.popleft()
                yield first, scanned.result()
        for first, scanned in ahead:
            yield first, scanned.result()


def widened(pattern: str) -> str:
    """A pattern that Hyperscan finds wherever ``regex`` would find the given one, and perhaps elsewhere.

    Anchors go because prefixes stand in front of a raw line; a variable tail goes because it would be reported at each of
    its characters.
    """
    return _TAIL.sub("", _ANCHORS.sub("", _NAMED.sub("(?:", pattern))) or pattern


def squeezed_pattern(pattern: str) -> str | None:
    """A pattern for text without white space; None if it has wildcards, which would run on, or too few letters."""
    pattern = widened(pattern)
    if _WILD.search(pattern):
        return None
    pattern = _SPACES.sub("", pattern)
    return pattern if len(_LETTER.findall(pattern)) >= LEAST_LETTERS else None


def needs_prefilter(pattern: str) -> bool:
    """Whether Hyperscan takes this pattern only approximately (look-around, back references)."""
    return not _compiles(widened(pattern).encode(), 0)


def _flags(expression: bytes, name: str) -> int:
    for flags in (0, hyperscan.HS_FLAG_PREFILTER):
        if _compiles(expression, flags):
            return flags
    raise SignatureError(f"{name}: the pattern can't be scanned for; use literals, classes, groups and repeats only")


def _compiles(expression: bytes, flags: int) -> bool:
    try:
        hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK).compile(expressions=[expression], ids=[0], flags=[flags])
    except hyperscan.error:
        return False
    return True
