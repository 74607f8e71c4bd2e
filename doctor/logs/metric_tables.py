"""Tables of metrics, as notebooks, model cards and loggers of one's own write them, written out as lines of keys and values."""

import re
from collections.abc import Iterator

_HTML = re.compile(rb"<table\b(?:(?!</table>).){1,200000}</table>", re.DOTALL)
_HTML_ROW = re.compile(rb"<tr\b(?:(?!</tr>).){1,20000}</tr>", re.DOTALL)
_HTML_CELL = re.compile(rb"<t[hd]\b[^>]{0,200}>([^<]{0,200})</t[hd]>")
# The rule under a header, and lines with nothing.
_RULE = re.compile(rb"[-:=+|> \t]*")
_QUOTE = b"> \t"
_SHAPING = b" \t*`"
_SEPARATORS = (b"|", b"\t", b",")
_COUNTERS = (b"step", b"epoch", b"iteration", b"iter")
_MEASURE = re.compile(rb"(?:[\w ./-]*[ _/])?(?:loss|ppl|perplexity)")
# Rows without a header: "250 val 5.8727", "250 train 5.91". Other text may hold one such line, but not one below the other.
_PLAIN = re.compile(rb"(?:^\d{1,9} (?:train|val|hella) [-+]?(?:\d[\d.e+-]*|nan|inf)[ \t\r]*\n){4,}", re.MULTILINE)
_PLAIN_ROW = re.compile(rb"^(\d+) (train|val) ", re.MULTILINE)


def written_out(text: bytes) -> bytes:
    """The same text with each row of a table as `step=10 | training loss=1.5`; other lines keep their numbers."""
    pieces = re.split(rb"([\r\n])", _PLAIN.sub(_plain_rows, _HTML.sub(_html_rows, text)))
    names: list[bytes] = []
    for n in range(0, len(pieces), 2):
        cells = _cells(pieces[n])
        row = _row(cells, names)
        names = _header(cells) or (names if row or _RULE.fullmatch(pieces[n]) else [])
        pieces[n] = row or pieces[n]
    return b"".join(pieces)


def _plain_rows(found: "re.Match[bytes]") -> bytes:
    return _PLAIN_ROW.sub(rb"step=\1 \2 loss=", found[0])


def _html_rows(found: "re.Match[bytes]") -> bytes:
    """An HTML table as rows of one line, which end as bars do, with as many lines behind it as it had."""
    rows = [b"|".join(_HTML_CELL.findall(row)) for row in _HTML_ROW.findall(found[0])]
    return b"\r".join([b"", *rows, b""]) + b"\n" * found[0].count(b"\n")


def _cells(line: bytes) -> list[bytes]:
    """The cells of a line, in lower case; none if it is no row."""
    line = line.strip(_QUOTE)
    separator = next((one for one in _SEPARATORS if one in line), b"|")
    cells = [cell.strip(_SHAPING).lower().replace(b" / ", b"/") for cell in line.strip(b"|").split(separator)]
    return cells if len(cells) > 1 else []


def _header(cells: list[bytes]) -> list[bytes]:
    """The names of the columns, if these cells are such: a counter and a loss among them."""
    named = any(cell in _COUNTERS for cell in cells) and any(_MEASURE.fullmatch(cell) for cell in cells)
    return cells if named else []


def _row(cells: list[bytes], names: list[bytes]) -> bytes:
    """A row as keys and values; empty if it doesn't tell where it stands."""
    pairs = dict(_numbers(cells, names)) if len(cells) == len(names) else {}
    if not any(counter in pairs for counter in _COUNTERS):
        return b""
    return b" | ".join(name + b"=" + value for name, value in pairs.items())


def _numbers(cells: list[bytes], names: list[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """The cells that hold a number; "No log" stands where none was measured yet."""
    for name, cell in zip(names, cells, strict=True):
        try:
            float(cell.replace(b",", b""))
        except ValueError:
            continue
        yield name, cell
