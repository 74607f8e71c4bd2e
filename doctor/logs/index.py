"""What the scan needs of the catalogue: patterns and their database, compiled once and cached per user."""

import hashlib
import json
import os
import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import hyperscan

from doctor import __version__
from doctor.catalog import Catalog
from doctor.logs.marks import marks
from doctor.logs.scan import Scanner, compile_patterns, load, squeezed_pattern
from doctor.metric_keys import SETTINGS
from doctor.signature import Signature, Text, Trace
from doctor.whole_file import write_whole

DIGEST_BYTES = 32
LENGTH_BYTES = 8
SETTING = "config."
# A catalogue that changes leaves its old caches behind. A cache is dropped when it was not used for so long, and so many
# others were used since.
UNUSED_SECONDS = 7 * 86400
KEPT = 4
CACHES = "index-*.bin"


@dataclass(frozen=True, slots=True)
class Index:
    """``texts`` lack their conditions on facts, which are known only once all is read. Fallbacks are not scanned for.

    ``owners[n]`` is the signature id (or the mark) that pattern n of the scanner belongs to.
    ``squeezed[n]`` is the id and the pattern that number n of the squeezed scanner stands for: it reads text without
    white space. ``keys`` are the settings that signatures ask for.
    """

    texts: Mapping[str, Text]
    owners: tuple[str, ...]
    keys: tuple[str, ...]
    squeezed: tuple[tuple[str, str], ...]
    scanner: Scanner
    squeezed_scanner: Scanner


def load_index(catalog: Catalog) -> Index:
    """The index of a catalogue, from the cache if it is there and whole. A cache that can't be used costs time only."""
    path = cache_file(catalog)
    index = _read(path)
    if index is None:
        return _written(path, compile_index(catalog))
    with suppress(OSError):  # a read-only home, or another process dropped it
        os.utime(path)  # not all file systems keep the time of the last access
    return index


def compile_index(catalog: Catalog) -> Index:
    """The index of a catalogue, compiled; SignatureError if a file is faulty or a pattern can't be scanned for."""
    from concurrent.futures import ThreadPoolExecutor

    signatures = catalog.signatures()
    texts = {one.id: replace(one.match, when={}) for one in signatures if isinstance(one.match, Text)}
    keys = tuple(sorted(set(_asked_settings(signatures))))
    owned = [(id, pattern) for id, text in texts.items() if not text.fallback for pattern in text.any] + marks(keys)
    names = [catalog.files[owner].where if owner in catalog else owner for owner, _ in owned]
    squeezed = tuple(_squeezed(texts))
    with ThreadPoolExecutor(1) as beside:  # Hyperscan compiles without the interpreter's lock
        whole = beside.submit(compile_patterns, [pattern for _, pattern in owned], names)
        squeezed_scanner = compile_patterns([pattern for _, pattern in squeezed], [id for id, _ in squeezed])
        scanner = whole.result()
    owners = tuple(owner for owner, _ in owned)
    return Index(texts, owners, keys, squeezed, scanner, squeezed_scanner)


def _squeezed(texts: Mapping[str, Text]) -> Iterator[tuple[str, str]]:
    """Squeezed patterns of the signatures that ask for no stack frame and no silence, and are no fallback."""
    for id, text in texts.items():
        patterns = () if text.frames or text.silence or text.fallback else map(squeezed_pattern, text.any)
        yield from ((id, pattern) for pattern in patterns if pattern is not None)


def _asked_settings(signatures: list[Signature]) -> Iterator[str]:
    yield from SETTINGS
    for signature in signatures:
        if isinstance(signature.match, (Text, Trace)):
            for when in (signature.match.when, *(cause.when for cause in signature.causes)):
                yield from (key.removeprefix(SETTING) for key in when if key.startswith(SETTING))


def cache_file(catalog: Catalog) -> Path:
    """Where the index of this catalogue is cached, for this version of doctor, of Hyperscan and this kind of machine."""
    from platformdirs import user_cache_path

    parts = (__version__, hyperscan.__version__, platform.machine(), catalog.digest, repr(marks(())))  # type: ignore[attr-defined]
    return user_cache_path("doctor") / f"index-{hashlib.sha256('|'.join(parts).encode()).hexdigest()[:32]}.bin"


def _read(path: Path) -> Index | None:
    try:
        data = path.read_bytes()
        body = data[DIGEST_BYTES:]
        if hashlib.sha256(body).digest() != data[:DIGEST_BYTES]:
            return None
        head, scanner, squeezed_scanner = _unpacked(body)
        table = json.loads(head)
        texts = {id: _text(*fields) for id, fields in table["texts"].items()}
        squeezed = tuple((id, pattern) for id, pattern in table["squeezed"])
        owners, keys = tuple(table["owners"]), tuple(table["keys"])
        return Index(texts, owners, keys, squeezed, load(scanner), load(squeezed_scanner))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, hyperscan.error):
        return None


def _text(
    any: list[str], none: list[str], frames: list[str], no_frames: list[str], silence: float, fallback: bool
) -> Text:
    return Text(tuple(any), tuple(none), tuple(frames), tuple(no_frames), silence, fallback)


def _written(path: Path, index: Index) -> Index:
    """Write the cache whole or not at all: another process may be reading or writing the same file."""
    table = {
        "texts": {
            id: [text.any, text.none, text.frames, text.no_frames, text.silence, text.fallback]
            for id, text in index.texts.items()
        },
        "owners": index.owners,
        "keys": index.keys,
        "squeezed": index.squeezed,
    }
    body = _packed([json.dumps(table).encode(), index.scanner.dump(), index.squeezed_scanner.dump()])
    with suppress(OSError):  # a read-only or full home: the next call compiles again
        _replace(path, hashlib.sha256(body).digest() + body)
    return index


def _replace(path: Path, data: bytes) -> None:
    if not path.is_absolute():
        raise FileNotFoundError(path)  # a user without a home
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, lambda beside: beside.write_bytes(data))
    _drop_unused(path)


def _drop_unused(newest: Path) -> None:
    """Drop old caches and what broken writers left.

    Who reads a file that is dropped meanwhile has it open, or compiles again; who writes one has just made it.
    """
    used = {path: _last_use(path) for path in newest.parent.glob(CACHES) if path != newest}
    recent = sorted(used, key=used.__getitem__, reverse=True)
    for path in (*recent[KEPT:], *newest.parent.glob(f".{CACHES}.*")):
        if time.time() - _last_use(path) > UNUSED_SECONDS:
            with suppress(OSError):
                path.unlink()


def _last_use(path: Path) -> float:
    """When a cache was written or read; as if now where another process dropped it."""
    try:
        return path.stat().st_mtime
    except OSError:
        return time.time()


def _packed(parts: list[bytes]) -> bytes:
    """Parts one behind the other, each with its length in front."""
    return b"".join(len(part).to_bytes(LENGTH_BYTES, "big") + part for part in parts)


def _unpacked(body: bytes) -> list[bytes]:
    parts, position = list[bytes](), 0
    while position < len(body):
        start = position + LENGTH_BYTES
        position = start + int.from_bytes(body[position:start], "big")
        parts.append(body[start:position])
    return parts
