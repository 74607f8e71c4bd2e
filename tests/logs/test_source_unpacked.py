"""Unpacking: packed and UTF-16 logs are read as what they hold; damaged and cut ones are one clear line."""

import bz2
import gzip
import lzma
import os
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from doctor.errors import LogError
from doctor.logs import block_cuts
from doctor.logs.source import Source, blocks

TEXT = b"".join(b"step %d loss %d.%d\n" % (n, n % 7, n) for n in range(4000))


def read(path: Path, size: int | None = None) -> bytes:
    """The whole log, from the parts of the blocks that are theirs alone."""
    return b"".join(
        block.data[block.start : block.end] for block in blocks(Source(str(path), size), lambda count: None)
    )


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(data)


PACKERS = {"gz": gzip.compress, "xz": lzma.compress, "bz2": bz2.compress, "zst": zstd}


@pytest.mark.parametrize("packing", PACKERS)
@pytest.mark.parametrize("name", ["run.log", "run.log.PACKING", "odd.name"])
def test_packed_logs_are_known_by_their_content(tmp_path: Path, packing: str, name: str) -> None:
    path = tmp_path / name.replace("PACKING", packing)
    path.write_bytes(PACKERS[packing](TEXT))
    assert read(path) == TEXT


@pytest.mark.parametrize("packing", PACKERS)
def test_several_members_or_frames_are_one_log(tmp_path: Path, packing: str) -> None:
    path = tmp_path / "run.log"
    path.write_bytes(PACKERS[packing](TEXT) + PACKERS[packing](b"") + PACKERS[packing](b"the end"))
    assert read(path) == TEXT + b"the end"


def test_skippable_zstandard_frames_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "run.zst"
    path.write_bytes(b"\x50\x2a\x4d\x18\x04\0\0\0size" + zstd(TEXT))
    assert read(path) == TEXT


@pytest.mark.parametrize("packing", PACKERS)
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9, 1])
def test_a_packed_log_that_was_cut_is_one_clear_line(tmp_path: Path, packing: str, share: float) -> None:
    whole = PACKERS[packing](TEXT)
    path = tmp_path / "run.log"
    path.write_bytes(whole[: min(int(len(whole) * share), len(whole) - 1)])
    with pytest.raises(
        LogError, match=r"run\.log: can't be read to its end: .*; check that the file is whole and readable"
    ):
        read(path)


@pytest.mark.parametrize("packing", PACKERS)
def test_a_packed_log_that_was_damaged_is_one_clear_line(tmp_path: Path, packing: str) -> None:
    packed = bytearray(PACKERS[packing](os.urandom(5000)))
    packed[len(packed) // 2] ^= 0xFF
    path = tmp_path / "run.log"
    path.write_bytes(
        {"zst": zstandard.ZstdCompressor(write_checksum=True).compress(b"x" * 99)[:-1] + b"?"}.get(
            packing, bytes(packed)
        )
    )
    with pytest.raises(
        LogError, match=r"run\.log: can't be read to its end: .*; check that the file is whole and readable"
    ):
        read(path)


@given(st.binary(max_size=200), st.sampled_from(["", *PACKERS]))
def test_no_bytes_make_it_raise_anything_else(tmp_path_factory, tail: bytes, packing: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.log"
    path.write_bytes((PACKERS[packing](b"")[:6] if packing else b"") + tail)
    try:
        read(path)
    except LogError as fault:
        assert "\n" not in str(fault)


def test_a_packed_log_that_claims_much_memory_is_refused(tmp_path: Path) -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=30)
    frame = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    path = tmp_path / "run.log"
    path.write_bytes(frame.compress(TEXT) + frame.flush())
    with pytest.raises(LogError, match="too much memory"):
        read(path)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_becomes_utf_8(tmp_path: Path, encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_cuts, "BLOCK", 999)  # odd: characters are cut in two
    text = "RuntimeError: Größe 漢字 🏖️\r\n" * 300
    path = tmp_path / "run.log"
    path.write_bytes(text.encode(encoding))
    assert read(path).decode() == text


def test_big_endian_utf_16_with_its_mark(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    path.write_bytes(b"\xfe\xff" + "loss: 1\n".encode("utf-16-be"))
    assert read(path) == b"loss: 1\n"


def test_half_a_character_at_the_end_of_utf_16_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    path.write_bytes("loss: 1".encode("utf-16")[:-1])
    assert read(path).decode() == "loss: \ufffd"


@pytest.mark.parametrize(
    "data", [b"", b"no final newline", b"broken \xff\xfe utf-8 \xc3\n", b"\0" * 100, b"a\n", b"\n"]
)
def test_other_bytes_stay_as_they_are(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "run.log"
    path.write_bytes(data)
    assert read(path, len(data)) == data
