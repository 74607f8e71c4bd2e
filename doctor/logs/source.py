"""Where a log comes from: files, folders, globs and standard input, packed or not, as blocks of bytes."""

import bz2
import codecs
import glob
import gzip
import lzma
import os
import stat
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BufferedReader, RawIOBase
from itertools import chain
from pathlib import Path
from typing import BinaryIO, cast

from doctor.errors import LogError

BLOCK = 4 * 1024 * 1024
OVERLAP = 256 * 1024
STDIN = "-"
SNIFF = 4096

LOG_SUFFIXES = frozenset({".log", ".out", ".err", ".txt", ".stdout", ".stderr", ".logs", ".jsonl"})
PACKED_SUFFIXES = frozenset({".gz", ".xz", ".bz2", ".zst"})
LOG_NAMES = ("stdout", "stderr", "log", "output", "slurm-")

# What the decompressors raise for a damaged or cut stream. zstandard's own error is a subclass of Exception only.
DAMAGED = (OSError, EOFError, zlib.error, lzma.LZMAError)


@dataclass(frozen=True, slots=True)
class Source:
    """One log. ``size`` is the number of bytes on disk when it was found, None for a stream."""

    path: str
    size: int | None


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of a log. Matches that end before ``end`` belong to this block; the bytes behind it come again in the next."""

    data: bytes
    end: int


def find_sources(paths: list[str]) -> list[Source]:
    """The logs that these arguments name, in order and each once; LogError if one names nothing."""
    sources = [source for path in paths for source in _expand(path)]
    return list({source.path: source for source in sources}.values())


def _expand(path: str) -> list[Source]:
    if path == STDIN:
        return [Source(STDIN, None)]
    if os.path.isdir(path):
        return _in_folder(path)
    if os.path.exists(path):
        return [_file(path)]
    found = sorted(name for name in glob.glob(path, recursive=True) if os.path.isfile(name))
    if not found:
        raise LogError(f"{path}: no such file or folder; give a log file, a folder of logs, or - for standard input")
    return [_file(name) for name in found]


def _file(path: str) -> Source:
    status = os.stat(path)
    return Source(path, status.st_size if stat.S_ISREG(status.st_mode) else None)


def _in_folder(folder: str) -> list[Source]:
    found = [
        Source(path, os.path.getsize(path))
        for root, folders, names in os.walk(folder, onerror=_refuse)
        for path in _sorted_logs(root, folders, names)
    ]
    if not found:
        raise LogError(
            f"{folder}: no logs in this folder; name the files if they are called otherwise than *.log, *.out, *.err or *.txt"
        )
    return found


def _sorted_logs(root: str, folders: list[str], names: list[str]) -> list[str]:
    folders[:] = sorted(name for name in folders if not name.startswith("."))
    paths = (os.path.join(root, name) for name in sorted(names))
    return [path for path in paths if _looks_like_log(path)]


def _refuse(fault: OSError) -> None:
    raise LogError(f"{fault.filename}: {fault.strerror}; check the folder's permissions")


def _looks_like_log(path: str) -> bool:
    name = Path(path.lower())
    if name.name.startswith(".") or not os.path.isfile(path):
        return False
    if name.suffix in PACKED_SUFFIXES:
        name = name.with_suffix("")
    return name.suffix in LOG_SUFFIXES or (not name.suffix and name.name.startswith(LOG_NAMES))


def blocks(source: Source, on_read: Callable[[int], None]) -> Iterator[Block]:
    """The unpacked log, as UTF-8 or whatever bytes it has, in blocks that end at a line end where there is one in reach.

    ``on_read`` is told how many bytes of the file were read. Raises LogError if the file can't be read or unpacked.
    """
    try:
        with _open(source) as raw:
            yield from _cut(_chunks(_unpacked(_Counted(raw, source.size, on_read))))
    except DAMAGED as fault:
        raise _unreadable(source, fault) from None
    except Exception as fault:
        if type(fault).__name__ != "ZstdError":
            raise
        raise _unreadable(source, fault) from None


def _unreadable(source: Source, fault: Exception) -> LogError:
    reason = getattr(fault, "strerror", None) or str(fault) or type(fault).__name__
    return LogError(f"{source.path}: can't be read to its end: {reason}; check that the file is whole and readable")


def _open(source: Source) -> BinaryIO:
    return sys.stdin.buffer if source.path == STDIN else open(source.path, "rb", buffering=0)


class _Counted(RawIOBase):
    """A stream that tells how much was read and stops at a given size, so that a file that grows is read once."""

    def __init__(self, raw: BinaryIO, size: int | None, on_read: Callable[[int], None]) -> None:
        self._raw = raw
        self._left = size
        self._on_read = on_read

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(cast(bytearray, buffer))
        if self._left is not None:
            view = view[: self._left]
        count = cast(RawIOBase, self._raw).readinto(view) or 0
        if self._left is not None:
            self._left -= count
        self._on_read(count)
        return count


def _unpacked(raw: RawIOBase) -> BinaryIO:
    stream = BufferedReader(raw, SNIFF)
    head = stream.peek(SNIFF)[:6]
    if head.startswith(b"\x1f\x8b"):
        return cast(BinaryIO, gzip.GzipFile(fileobj=stream))
    if head.startswith(b"\xfd7zXZ\x00"):
        return cast(BinaryIO, lzma.LZMAFile(stream))
    if head.startswith(b"BZh"):
        return cast(BinaryIO, bz2.BZ2File(stream))
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        import zstandard

        return cast(BinaryIO, zstandard.ZstdDecompressor().stream_reader(stream, read_across_frames=True))
    return stream


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    """The stream in pieces of about BLOCK bytes; UTF-16, which PowerShell's ``>`` writes, becomes UTF-8."""
    first = stream.read(BLOCK)
    encoding = _utf16(first[:64])
    pieces = chain([first] if first else [], iter(lambda: stream.read(BLOCK), b""))
    if encoding is None:
        yield from pieces
        return
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    for piece in pieces:
        yield decoder.decode(piece).encode("utf-8", "replace")
    yield decoder.decode(b"", final=True).encode("utf-8", "replace")


def _utf16(head: bytes) -> str | None:
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    odd, even = head[1::2], head[::2]
    if len(odd) >= 4 and odd.count(0) > len(odd) * 3 // 4 > even.count(0):
        return "utf-16-le"
    return None


def _cut(chunks: Iterator[bytes]) -> Iterator[Block]:
    """Blocks that overlap by OVERLAP bytes, cut behind a line end where one is in reach."""
    kept = b""
    for chunk in chunks:
        data = kept + chunk
        reach = max(len(data) - OVERLAP, 0)
        end = data.rfind(b"\n", 0, reach) + 1 or reach
        if end:
            yield Block(data, end)
        kept = data[end:]
    if kept:
        yield Block(kept, len(kept))
