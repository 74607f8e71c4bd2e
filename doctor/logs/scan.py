"""The multi-pattern scan: every pattern of every signature in one Hyperscan database, bytes in, hits out."""

import re
from collections.abc import Sequence

import hyperscan

from doctor.errors import SignatureError

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

# What Hyperscan may take only through a prefilter: look-around, references back, possessive repeats. To ask it of each
# pattern takes longer than to compile them all.
_BEYOND = re.compile(rb"\(\?[=!<>]|\\[1-9]|[*+?}]\+")

# In no squeezed text: what a database without patterns holds instead, as Hyperscan makes no empty one.
NOWHERE = r"\x00\x00no pattern"


class Scanner:
    """A compiled database, for one thread."""

    def __init__(self, dumped: bytes) -> None:
        self._dumped = dumped
        self._database = hyperscan.loadb(dumped, hyperscan.HS_MODE_BLOCK)
        self._database.scratch = hyperscan.Scratch(self._database)

    def hits(self, data: bytes) -> list[tuple[int, int]]:
        """(pattern number, end offset) of every match, in the order of their ends."""
        found: list[tuple[int, int]] = []
        append = found.append
        self._database.scan(data, lambda number, start, end, flags, context: append((number, end)))
        return found

    def dump(self) -> bytes:
        """The database as bytes, for ``load``."""
        return self._dumped


def load(dumped: bytes) -> Scanner:
    """A scanner from ``dump``'s bytes; hyperscan.error if this machine or library can't use them."""
    return Scanner(dumped)


def compile_patterns(patterns: Sequence[str], names: Sequence[str]) -> Scanner:
    """One database for all patterns; SignatureError names the one that can't be scanned for."""
    if not patterns:
        return compile_patterns([NOWHERE], ["none"])
    expressions = [widened(pattern).encode() for pattern in patterns]
    named = list(zip(expressions, names, strict=True))
    database = _compiled(expressions, [_flags(one, name) if _BEYOND.search(one) else 0 for one, name in named])
    if database is None:
        database = _compiled(expressions, [_flags(one, name) for one, name in named])
    if database is None:
        raise SignatureError("the patterns can't be scanned for together: their repeats take too much memory")
    return Scanner(bytes(hyperscan.dumpb(database)))


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
    return _compiled([expression], [flags]) is not None


def _compiled(expressions: list[bytes], flags: list[int]) -> hyperscan.Database | None:
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    try:
        database.compile(expressions=expressions, ids=list(range(len(expressions))), flags=flags)
    except hyperscan.error:
        return None
    return database
