"""Where a log comes from: files, folders, globs and standard input, packed or not, as blocks of bytes."""

import bz2
import codecs
import glob
import gzip
import lzma
import os
import re
import stat
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BufferedReader, RawIOBase
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NoReturn, cast

from doctor.errors import LogError
from doctor.logs import block_cuts
from doctor.logs.block_cuts import LogBlock, PlainFile, cut_file, cut_stream, unreadable
from doctor.logs.pasted import unpasted

if TYPE_CHECKING:
    import zstandard

STDIN = "-"
SNIFF = 4096
LONGEST_MAGIC = 6
# UTF-16 is told by so many of its first bytes.
WIDE = 64
# So little of a zstandard stream is unpacked at once that no frame can claim much memory.
ZSTD_PIECE = 1024

LOG_SUFFIXES = frozenset({".log", ".out", ".err", ".txt", ".stdout", ".stderr", ".logs", ".jsonl"})
PACKED_SUFFIXES = frozenset({".gz", ".xz", ".bz2", ".zst"})
# Names without such a suffix: as they are, behind a word, as PBS and SGE name them (job.o1234, job.e1234-7), and put aside by
# logrotate or a logger.
_LOG_NAME = re.compile(
    r"(?:stdout|stderr|log|output|slurm-)[^.]*|[^.]*[_-](?:log|err|stdout|stderr)\d*|nohup|"
    r".+\.[oe]\d{2,}(?:[.-]\d+)?|.+\.(?:log|out|err)\.\d[\d_-]*"
)

# What the decompressors raise for a damaged or cut stream. zstandard's own error is a subclass of Exception only.
DAMAGED = (OSError, EOFError, zlib.error, lzma.LZMAError)


@dataclass(frozen=True, slots=True)
class Source:
    """One log. ``size`` is the number of bytes on disk when it was found, None for a stream."""

    path: str
    size: int | None


def find_sources(paths: list[str], *, needed: bool = True) -> list[Source]:
    """The logs that these arguments name, in order and each once; LogError if one names nothing.

    Unless logs are ``needed``, a folder may be without.
    """
    found: dict[str, Source] = {}
    for source in chain.from_iterable(_expand(path, needed) for path in paths):
        found.setdefault(_identity(source.path), source)
    return list(found.values())


def _identity(path: str) -> str:
    """Equal for all names and links of one file: a folder of logs may hold a link to the latest."""
    return path if path == STDIN else os.path.realpath(path)


def _expand(path: str, needed: bool) -> list[Source]:
    if path == STDIN:
        return [Source(STDIN, None)]
    try:
        status = os.stat(path)
    except PermissionError as fault:
        _refuse(fault)
    except (OSError, ValueError):  # no such file, or a glob, or nothing that can be a path
        return _matching(path)
    return _in_folder(path, needed) if stat.S_ISDIR(status.st_mode) else [_file(path, status)]


def _matching(pattern: str) -> list[Source]:
    found = sorted(name for name in glob.glob(pattern, recursive=True) if os.path.isfile(name))
    if not found:
        raise LogError(f"{pattern}: no such file or folder; give a log file, a folder of logs, or - for standard input")
    return [_file(name, os.stat(name)) for name in found]


def _file(path: str, status: os.stat_result) -> Source:
    return Source(path, status.st_size if stat.S_ISREG(status.st_mode) else None)


def _in_folder(folder: str, needed: bool) -> list[Source]:
    found = [
        _file(path, os.stat(path))
        for root, folders, names in os.walk(folder, onerror=_refuse)
        for path in _sorted_logs(root, folders, names)
    ]
    if not found and needed:
        raise LogError(
            f"{folder}: no logs in this folder; name the files if they are called otherwise than *.log, *.out, *.err or *.txt"
        )
    return found


def _sorted_logs(root: str, folders: list[str], names: list[str]) -> list[str]:
    folders[:] = sorted(name for name in folders if not name.startswith("."))
    paths = (os.path.join(root, name) for name in sorted(names))
    return [path for path in paths if _looks_like_log(path) and not _is_binary(path)]


def _refuse(fault: OSError) -> NoReturn:
    raise LogError(f"{fault.filename}: {fault.strerror}; check the permissions of the file and its folders")


def _looks_like_log(path: str) -> bool:
    name = Path(path.lower())
    if name.name.startswith(".") or not os.path.isfile(path):
        return False
    if name.suffix in PACKED_SUFFIXES:
        name = name.with_suffix("")
    return name.suffix in LOG_SUFFIXES or _LOG_NAME.fullmatch(name.name) is not None


_TRUNCATED = re.compile(rb"(?:\A|(?<=\n))\0+(?=[\t -~\x80-\xff]|\Z)")


def _is_binary(path: str) -> bool:
    """Whether a file holds zero bytes, as programs and arrays do. Zeros between lines of text, in long rows, are a log that was
    truncated in place while it was written."""
    try:
        with open(path, "rb") as file:
            head = _TRUNCATED.sub(b"", file.read(SNIFF))
    except OSError:
        return False  # reading it will say why
    return b"\0" in head and _utf16(head) is None and not head.startswith(_MAGIC)


def blocks(source: Source, on_read: Callable[[int], None]) -> Iterator[LogBlock]:
    """The unpacked log, as UTF-8 or whatever bytes it has, in blocks that end at a line end where there is one in reach.

    ``on_read`` is told how many bytes of the file were read. Raises LogError if the file can't be read or unpacked.
    """
    try:
        with _open(source) as raw:
            if source.size is not None and source.size >= block_cuts.BLOCK and _is_plain(raw):
                yield from cut_file(PlainFile(source.path, raw.fileno()), source.size, on_read)
            else:
                yield from cut_stream(_chunks(_unpacked(_Counted(raw, source.size, on_read))))
    except DAMAGED as fault:
        raise unreadable(source.path, fault) from None
    except Exception as fault:
        if type(fault).__name__ != "ZstdError":
            raise
        raise unreadable(source.path, fault) from None


def _open(source: Source) -> BinaryIO:
    return sys.stdin.buffer if source.path == STDIN else open(source.path, "rb", buffering=0)


def _is_plain(raw: BinaryIO) -> bool:
    """Whether a file's bytes are those of its text, neither packed nor UTF-16."""
    head = os.pread(raw.fileno(), SNIFF, 0)
    return not head.startswith(_MAGIC) and _utf16(head[:WIDE]) is None


class _Counted(RawIOBase):
    """A stream that tells how much was read and stops at a given size, so that a file that grows is read once."""

    def __init__(self, raw: BinaryIO, size: int | None, on_read: Callable[[int], None]) -> None:
        self._raw = raw
        self._left = size
        self._on_read = on_read
        self._started = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        """What there is; at the start enough to tell a packed stream by, as a pipe may come in single bytes."""
        view = memoryview(cast(bytearray, buffer))
        count = more = self._some(view)
        while more and not self._started and count < LONGEST_MAGIC:
            more = self._some(view[count:])
            count += more
        self._started = True
        return count

    def _some(self, view: memoryview) -> int:
        if self._left is not None:
            view = view[: self._left]
        count = cast(RawIOBase, self._raw).readinto(view) or 0
        if self._left is not None:
            self._left -= count
        self._on_read(count)
        return count


class _Zstandard(RawIOBase):
    """Zstandard frames, unpacked. The library's own reader takes a stream that was cut for a whole one."""

    def __init__(self, packed: BinaryIO) -> None:
        self._packed = packed
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._ready = b""
        self._waiting = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(cast(bytearray, buffer))
        while not self._ready and self._more():
            pass
        count = min(len(view), len(self._ready))
        view[:count], self._ready = self._ready[:count], self._ready[count:]
        return count

    def _more(self) -> bool:
        """Unpack the next piece; False at the end of the stream, EOFError if that is in the middle of a frame."""
        import zstandard

        piece = self._waiting or self._packed.read(ZSTD_PIECE)
        if not piece and self._frame is not None:
            raise EOFError("the stream ends in the middle of a frame")
        if piece:
            self._frame = self._frame or zstandard.ZstdDecompressor().decompressobj()
            self._ready = self._frame.decompress(piece)
            self._waiting = self._frame.unused_data if self._frame.eof else b""
            self._frame = None if self._frame.eof else self._frame
        return bool(piece)


_GZIP, _XZ, _BZIP2, _ZSTD = b"\x1f\x8b", b"\xfd7zXZ\x00", b"BZh", b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPABLE = tuple(bytes([0x50 + n]) + b"\x2a\x4d\x18" for n in range(16))
_MAGIC = (_GZIP, _XZ, _BZIP2, _ZSTD, *_ZSTD_SKIPPABLE)


def _unpacked(raw: RawIOBase) -> BinaryIO:
    stream = BufferedReader(raw, SNIFF)
    head = stream.peek(SNIFF)[:LONGEST_MAGIC]
    if head.startswith(_GZIP):
        return cast(BinaryIO, gzip.GzipFile(fileobj=stream))
    if head.startswith(_XZ):
        return cast(BinaryIO, lzma.LZMAFile(stream))
    if head.startswith(_BZIP2):
        return cast(BinaryIO, bz2.BZ2File(stream))
    if head.startswith((_ZSTD, *_ZSTD_SKIPPABLE)):
        return cast(BinaryIO, BufferedReader(_Zstandard(stream)))
    return stream


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    """The stream in pieces of about a block's size; UTF-16, which PowerShell's ``>`` writes, becomes UTF-8."""
    first = stream.read(block_cuts.BLOCK)
    encoding = _utf16(first[:WIDE])
    pieces = chain([first] if first else [], iter(lambda: stream.read(block_cuts.BLOCK), b""))
    if encoding is None:
        yield from [unpasted(first)] if len(first) < block_cuts.BLOCK else pieces
        return
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    for piece in pieces:
        yield decoder.decode(piece).encode("utf-8", "replace")
    yield decoder.decode(b"", final=True).encode("utf-8", "replace")


def _utf16(head: bytes) -> str | None:
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    odd, even = head[1::2], head[::2]
    for encoding, high, low in (("utf-16-le", odd, even), ("utf-16-be", even, odd)):
        if len(high) >= 4 and high.count(0) > len(high) * 3 // 4 > low.count(0):
            return encoding
    return None
