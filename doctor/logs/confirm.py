"""Whether a record really holds what a Text signature asks for: the scan only says where to look."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import regex

from doctor.logs.records import Frame, Record, advises, quotes
from doctor.signature import Text

# Seconds that one pattern may take on one record.
PATIENCE = 0.5
# Who asks for an attribute is the frame above these.
_LOOK_UPS = frozenset({"__getattr__", "__getattribute__"})


@dataclass(frozen=True, slots=True)
class Confirmed:
    """Where in a record a signature matched: the place in its exception chain (0 is the first raised), the line, the captures."""

    depth: int
    line: int
    text: str
    captures: Mapping[str, str]


def confirm(text: Text, record: Record) -> Confirmed | None:
    """The first place in a record at which a signature matches; TimeoutError if a pattern takes too long."""
    if text.none and any(_search(pattern, record.text) for pattern in text.none):
        return None
    for depth, line, words, frames in _parts(record):
        if (text.frames and not _any_of(text.frames, frames)) or _any_of(text.no_frames, frames):
            continue
        for pattern in text.any:
            found = _search(pattern, words)
            if found is not None and _means_it(found, words, record):
                return Confirmed(depth, line, words, _captures(found, record, depth))
    return None


def _captures(found: "regex.Match[str]", record: Record, depth: int) -> dict[str, str]:
    """What the pattern captured, and of a traceback the innermost frame and its package."""
    captures = {name: value for name, value in found.groupdict().items() if value}
    frames = record.chain[depth].frames if record.chain else ()
    if "module" in captures:
        captures |= _own_module(captures["module"].partition(".")[0], frames)
    if frames:
        inner = next((frame for frame in reversed(frames) if frame.function not in _LOOK_UPS), frames[-1])
        captures |= {"frame": f"{inner.at} in {inner.function}", "package": inner.package}
    return captures


def _own_module(top: str, frames: tuple[Frame, ...]) -> dict[str, str]:
    """The top package of a module, and whether code of the user's own stands in a folder of that name."""
    own = (frame for frame in frames if not frame.is_installed)
    inside = any(top in re.split(r"[/\\]", frame.path)[:-1] for frame in own)
    return {"top": top, "folder": top} if inside else {"top": top}


def _parts(record: Record) -> list[tuple[int, int, str, tuple[str, ...]]]:
    """(depth, line, text, frames) of each exception of the record, or of the line that it is."""
    if not record.chain:
        return [(0, record.line, record.text, ())]
    return [(n, one.line, one.text, tuple(map(str, one.frames))) for n, one in enumerate(record.chain)]


def _means_it(found: "regex.Match[str]", words: str, record: Record) -> bool:
    """Whether the line of a match is a statement, not advice, source code or a sample that quotes an error."""
    start, end = words.rfind("\n", 0, found.start()) + 1, words.find("\n", found.end())
    line = words[start : len(words) if end < 0 else end]
    before = line[: found.start() - start]
    return not advises(before) and (bool(record.chain) or not quotes(line))


def _any_of(patterns: tuple[str, ...], frames: tuple[str, ...]) -> bool:
    return any(_search(pattern, frame) for pattern in patterns for frame in frames)


def _search(pattern: str, text: str) -> "regex.Match[str] | None":
    return _compiled(pattern).search(text, timeout=PATIENCE)


@cache
def _compiled(pattern: str) -> "regex.Pattern[str]":
    return regex.compile(pattern)
