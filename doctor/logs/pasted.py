"""What becomes of a log that was pasted or recorded: indented as code, broken at a terminal's width, without line feeds."""

import re

# How a log begins that was pasted from a block of code, and what stands in front of each of its lines.
_INDENTED = re.compile(rb"\s*?[ \t]{2}")
_INDENTATION = re.compile(rb"^[ \t]*(?=[^ \t\r\n])", re.M)

# Widths at which a terminal breaks lines, and how many unlike lines must end there in the middle of a word.
NARROWEST, WIDEST, LEAST = 60, 320, 3
# So many of the lines that reach within NEAR of the width must reach it.
NEAR, MOST = 12, 0.6
_DRAWN = re.compile(rb"\x1b|\r(?!\n)")
_NUMBER = re.compile(r"[-+.\d\s]+")
_INSIDE = re.compile(r"[\w/.,:()'\"-]{2}")
_BORDER = re.compile(r"(.)\1*|.*[│┃|+=─━╮╯┐┘]")


def unpasted(log: bytes) -> bytes:
    """A whole log as it was printed; its lines keep their numbers."""
    return _unbroken(_dedented(_with_newlines(log)))


def _with_newlines(log: bytes) -> bytes:
    """A log with line feeds, where carriage returns alone end its lines: as a terminal's recording has them."""
    return log if b"\n" in log.rstrip(b"\n") else log.replace(b"\r", b"\n")


def _dedented(log: bytes) -> bytes:
    """A log without the indentation that all its lines share."""
    indentations = {found[0] for found in _INDENTATION.finditer(log)} if _INDENTED.match(log) else set[bytes]()
    shared = min(indentations, key=len, default=b"")
    return re.sub(rb"(?m)^" + shared, b"", log) if all(one.startswith(shared) for one in indentations) else log


def _unbroken(log: bytes) -> bytes:
    """A log whose lines end where the message does, if a terminal's width broke them; empty lines stand for those that are gone."""
    if _DRAWN.search(log):
        return log
    lines = log.decode("utf-8", "surrogateescape").replace("\r\n", "\n").split("\n")
    width = max(map(len, lines))
    if not _is_width(width, lines):
        return log
    joined: list[str] = []
    gone = 0
    for line, before in zip(lines, ["", *lines], strict=False):
        if len(before) == width and not _BORDER.fullmatch(before):
            joined[-1] += line
            gone += 1
        else:
            joined += [""] * gone + [line]
            gone = 0
    return "\n".join(joined + [""] * gone).encode("utf-8", "surrogateescape")


def _is_width(width: int, lines: list[str]) -> bool:
    """Whether the length of the longest lines is that of a terminal at which lines were broken."""
    full = [n for n, line in enumerate(lines[:-1]) if len(line) == width and not _BORDER.fullmatch(line)]
    inside = {_NUMBER.sub("0", lines[n]) for n in full if _INSIDE.fullmatch(lines[n][-1:] + lines[n + 1][:1])}
    near = sum(len(line) > width - NEAR for line in lines)
    return NARROWEST <= width <= WIDEST and len(inside) >= LEAST and len(full) >= MOST * near
