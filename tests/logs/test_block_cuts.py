"""How a log is cut into blocks, as a stream and as a file."""

import errno
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doctor.errors import LogError
from doctor.logs import block_cuts
from doctor.logs.block_cuts import Block, Extent, LogBlock, PlainFile, cut_file, cut_stream

LINES = st.binary(max_size=300).map(lambda data: data.replace(b"a", b"\n"))


def joined(cut: list[Block]) -> bytes:
    return b"".join(block.data[block.start : block.end] for block in cut)


def extents(path: Path, size: int) -> Iterator[Extent]:
    with open(path, "rb") as file:
        return cut_file(PlainFile(str(path), file.fileno()), size, lambda count: None)


def fields(block: LogBlock) -> tuple[bytes, int, int]:
    return block.data, block.end, block.start


@given(LINES, st.integers(1, 50), st.integers(0, 50), st.integers(0, 20))
def test_blocks_put_together_are_the_log(data: bytes, block: int, overlap: int, context: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(block_cuts, "OVERLAP", overlap)
        patch.setattr(block_cuts, "CONTEXT", context)
        cut = list(cut_stream(data[n : n + block] for n in range(0, len(data), block)))
    assert joined(cut) == data
    at = 0
    for one in cut:
        assert one.data == data[at - one.start : at - one.start + len(one.data)]
        assert b"\n" not in one.data[: one.start][:-1]
        assert len(one.data) - one.end >= overlap or one is cut[-1]
        at += one.end - one.start


def test_a_block_ends_at_a_line_end_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_cuts, "OVERLAP", 4)
    monkeypatch.setattr(block_cuts, "CONTEXT", 3)
    assert list(cut_stream([b"ab\ncd\nefghi", b"jklmnopqr\n"])) == [
        Block(b"ab\ncd\nefghi", 6),
        Block(b"cd\nefghijklmnopqr\n", 14, 3),
        Block(b"mnopqr\n", 7, 3),
    ]


ONE_GIGABYTE = """
import resource, sys
from doctor.logs import block_cuts, source
piece = {piece}
def chunks():
    for _ in range(256):
        yield piece
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
size = sum(block.end - block.start for block in block_cuts.cut_stream(chunks()))
print(size, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in other units elsewhere")
@pytest.mark.parametrize(
    "piece",
    [
        "bytes(block_cuts.BLOCK)",
        "(b'loss: 1.0\\n' * block_cuts.BLOCK)[:block_cuts.BLOCK]",
        "b'x' * 9 + b'\\n' + bytes(block_cuts.BLOCK - 10)",
    ],
)
def test_a_gigabyte_takes_the_memory_of_a_few_blocks(root: Path, piece: str) -> None:
    script = ONE_GIGABYTE.format(piece=piece)
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
        check=True,
    )
    size, megabytes = map(int, done.stdout.split())
    assert size == 2**30
    assert megabytes < 40


@given(LINES, st.integers(1, 50), st.integers(0, 50), st.integers(0, 20), st.integers(1, 60))
def test_a_file_is_cut_as_a_stream_is(data: bytes, block: int, overlap: int, context: int, window: int) -> None:
    with pytest.MonkeyPatch.context() as patch, tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        for name, value in (("BLOCK", block), ("OVERLAP", overlap), ("CONTEXT", context), ("WINDOW", window)):
            patch.setattr(block_cuts, name, value)
        told: list[int] = []
        cut = list(cut_file(PlainFile(file.name, file.fileno()), len(data), told.append))
        streamed = list(cut_stream(data[n : n + block] for n in range(0, len(data), block)))
        assert [fields(one) for one in cut] == [fields(one) for one in streamed]
        assert sum(told) == len(data)


def test_a_file_that_was_closed_and_removed_is_still_read(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    path.write_bytes(b"line\n" * 100)
    cut = extents(path, 500)
    path.unlink()
    assert joined(list(cut)) == b"line\n" * 100


def test_a_file_that_shrinks_while_it_is_read_ends_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_cuts, "BLOCK", 100)
    monkeypatch.setattr(block_cuts, "OVERLAP", 10)
    path = tmp_path / "run.log"
    path.write_bytes(b"line\n" * 100)
    cut = extents(path, 500)
    first = next(cut)
    os.truncate(path, 120)
    assert joined([first, *cut]) == b"line\n" * 24


def test_its_descriptor_is_closed_with_the_last_block(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    path.write_bytes(b"line\n" * 100)
    (block,) = extents(path, 500)
    descriptor = block.file.descriptor
    os.fstat(descriptor)
    del block
    with pytest.raises(OSError):
        os.fstat(descriptor)


def test_no_descriptor_left_leaves_nothing_to_close(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception in a destructor would fail this test, as every warning does."""
    path = tmp_path / "run.log"
    path.write_bytes(b"line\n")

    def refused(descriptor: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "dup", refused)
    with pytest.raises(OSError, match="Too many open files"):
        extents(path, 5)


def test_what_can_not_be_read_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.log"
    path.write_bytes(b"line\n" * 100)
    (block,) = extents(path, 500)

    def refused(*arguments: int) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "pread", refused)
    with pytest.raises(LogError) as caught:
        _ = block.data
    assert str(caught.value) == (
        f"{path}: can't be read to its end: Input/output error; check that the file is whole and readable"
    )
