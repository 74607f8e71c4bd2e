"""The header of a safetensors file, read as if an enemy had written it.

The format: 8 bytes, little-endian, the length of the header; the header, a JSON object of name -> {dtype, shape,
data_offsets} and "__metadata__"; the data, without holes. https://huggingface.co/docs/safetensors
"""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from doctor.weights.dtypes import DTYPES
from doctor.weights.entries import Entry, Fault, FaultKind, Piece, Unmeasured

PREFIX = 8
LARGEST_HEADER = 32 << 20  # 100,000 tensors with long names take 15 MB; JSON takes up to 20 times its size in memory
LARGEST_COUNT = 1 << 62
METADATA = "__metadata__"
LFS = b"version https://git-lfs"


class HeaderError(ValueError):
    """Why the file can't be used: a clause that follows its name."""


@dataclass(frozen=True, slots=True)
class Header:
    """The tensors of one file in the order of their data, its metadata, and where the data begins and should end."""

    entries: tuple[Entry, ...]
    metadata: Mapping[str, str]
    start: int
    end: int
    unmeasured: tuple[Unmeasured, ...]
    faults: tuple[Fault, ...]


def read_header(path: Path) -> Header:
    """Read and check the header of ``path``; HeaderError if nothing in it can be trusted, OSError if it can't be read.

    A file that is shorter than its header says is not refused: the tensors that are whole are returned, and a fault.
    """
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        prefix = file.read(PREFIX)
        length = _header_length(prefix + file.read(24), size)
        file.seek(PREFIX)
        text = file.read(length)
    return _header(path, _parse(text), PREFIX + length, size)


def _header_length(beginning: bytes, size: int) -> int:
    if not size:
        raise HeaderError("is empty (0 bytes); copy or download it again")
    if beginning.startswith(LFS):
        raise HeaderError("is a git-lfs pointer, not the weights; run `git lfs pull`")
    if size < PREFIX + 2:
        raise HeaderError(f"has {size} bytes, too few for a safetensors file; copy or download it again")
    length = int.from_bytes(beginning[:PREFIX], "little")
    if length > size - PREFIX:
        raise HeaderError(
            f"claims a header of {length:,} bytes but has {size:,} bytes: no safetensors file, or cut; copy it again"
        )
    if length > LARGEST_HEADER:
        raise HeaderError(
            f"claims a header of {length:,} bytes, more than any real one ({LARGEST_HEADER:,}); it is not used"
        )
    return length


def _parse(text: bytes) -> dict[str, object]:
    try:
        header = json.loads(text.decode(), object_pairs_hook=_without_duplicates)
    except (UnicodeDecodeError, json.JSONDecodeError):
        raise HeaderError("has a header that is not JSON; copy or download it again") from None
    except RecursionError:
        raise HeaderError("has a header nested too deeply to be real; it is not used") from None
    except HeaderError:
        raise
    except ValueError:  # an integer of thousands of digits
        raise HeaderError("has a header with a number too long to be real; it is not used") from None
    if not isinstance(header, dict):
        raise HeaderError("has a header that is not a JSON object; it is not a safetensors file")
    return header


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    table = dict(pairs)
    if len(table) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise HeaderError(f"names {shown(twice)} twice in its header; it is ambiguous and not used")
    return table


def _header(path: Path, table: dict[str, object], start: int, size: int) -> Header:
    metadata = table.pop(METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise HeaderError("has metadata that is not a table of texts; it is not used")
    rows = sorted((_row(name, value) for name, value in table.items()), key=lambda row: (row.begin, row.end, row.name))
    end = start + _check_cover(rows)
    faults = _length_faults(path, rows, start, size)
    whole = [row for row in rows if start + row.end <= size]
    return Header(
        entries=tuple(_entry(path, row, start) for row in whole if _is_measured(row)),
        metadata=metadata,
        start=start,
        end=end,
        unmeasured=tuple(_unmeasured(path, row) for row in whole if not _is_measured(row)),
        faults=faults,
    )


@dataclass(frozen=True, slots=True)
class _Row:
    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def _row(name: str, value: object) -> _Row:
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        raise HeaderError(f"describes {shown(name)} without exactly dtype, shape and data_offsets; it is not used")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or not _are_counts(shape) or not _are_counts(offsets) or len(offsets) != 2:
        raise HeaderError(f"has a dtype, shape or data_offsets of {shown(name)} that is not one; it is not used")
    row = _Row(name, dtype, tuple(shape), *offsets)
    if row.begin > row.end:
        raise HeaderError(f"ends {shown(name)} before it begins ({row.begin:,} to {row.end:,}); it is not used")
    if dtype in DTYPES:
        _check_size(row)
    return row


def _are_counts(value: object) -> bool:
    return isinstance(value, list) and all(type(one) is int and 0 <= one < LARGEST_COUNT for one in value)


def _check_size(row: _Row) -> None:
    if len(row.shape) > 64 or math.prod(row.shape) >= LARGEST_COUNT:
        raise HeaderError(f"gives {shown(row.name)} a shape too large to exist; it is not used")
    bits = math.prod(row.shape) * DTYPES[row.dtype].bits
    if bits % 8 or bits // 8 != row.end - row.begin:
        given, taken = row.end - row.begin, f"{row.dtype} {list(row.shape)} takes {bits // 8:,}"
        raise HeaderError(f"gives {shown(row.name)} {given:,} bytes, but {taken}; it is not used")


def _check_cover(rows: list[_Row]) -> int:
    """The end of the data; HeaderError if tensors overlap or leave holes (a hole could hide anything)."""
    position = 0
    for row in rows:
        if row.begin != position:
            what = "overlaps the tensor before it" if row.begin < position else "leaves a hole before it"
            raise HeaderError(
                f"places {shown(row.name)} at {row.begin:,}, which {what} (expected {position:,}); it is not used"
            )
        position = row.end
    return position


def _length_faults(path: Path, rows: list[_Row], start: int, size: int) -> tuple[Fault, ...]:
    end = start + (rows[-1].end if rows else 0)
    if size > end:
        raise HeaderError(f"has {size - end:,} bytes after the data that its header describes; it is not used")
    if size == end:
        return ()
    cut = [row for row in rows if start + row.end > size]
    detail = (
        f"is cut short: {size:,} of {end:,} bytes; {len(cut)} of {len(rows)} tensors are incomplete, "
        f"from {shown(cut[0].name)} on"
    )
    return (Fault(FaultKind.TRUNCATED, path, detail, cut[0].name),)


def _entry(path: Path, row: _Row, start: int) -> Entry:
    return Entry(row.name, row.dtype, row.shape, (Piece(path, start + row.begin, math.prod(row.shape)),))


def _is_measured(row: _Row) -> bool:
    return row.dtype in DTYPES and bool(DTYPES[row.dtype].numpy)


def _unmeasured(path: Path, row: _Row) -> Unmeasured:
    packed = row.dtype in DTYPES
    return Unmeasured(
        row.name, path, f"dtype {row.dtype} is packed" if packed else f"dtype {shown(row.dtype)} is not known"
    )


def shown(name: str) -> str:
    """A name from a file, safe to print: quoted, escaped, and cut at 120 characters."""
    text = json.dumps(name[:120])
    return text if len(name) <= 120 else text[:-1] + '..."'
