"""Sources: what counts as a log, and how it is unpacked."""

import bz2
import gzip
import lzma
import os
import subprocess
import sys
import threading
from io import RawIOBase
from pathlib import Path

import pytest
import zstandard

from doctor.errors import LogError
from doctor.logs import block_cuts, source
from doctor.logs.source import Source, blocks, find_sources

TEXT = b"".join(b"step %d loss %d.%d\n" % (n, n % 7, n) for n in range(4000))
NO_SUCH = "no such file or folder; give a log file, a folder of logs, or - for standard input"


def read(path: Path | str, size: int | None = None) -> bytes:
    """The whole log, from the parts of the blocks that are theirs alone."""
    return joined(blocks(Source(str(path), size), lambda count: None))


def joined(pieces) -> bytes:
    return b"".join(block.data[block.start : block.end] for block in pieces)


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(data)


PACKERS = {"gz": gzip.compress, "xz": lzma.compress, "bz2": bz2.compress, "zst": zstd}


def paths(*arguments: Path | str) -> list[str]:
    return [one.path for one in find_sources([str(argument) for argument in arguments])]


# What counts as a log


def test_a_file_is_a_source_with_its_size(tmp_path: Path) -> None:
    log = tmp_path / "run"
    log.write_bytes(b"abc")
    assert find_sources([str(log)]) == [Source(str(log), 3)]


def test_several_files_stay_in_order_and_come_once(tmp_path: Path) -> None:
    for name in ("b.log", "a.log"):
        (tmp_path / name).write_text(name)
    assert paths(tmp_path / "b.log", tmp_path / "a.log", f"{tmp_path}/./b.log") == [
        f"{tmp_path}/b.log",
        f"{tmp_path}/a.log",
    ]


def test_a_link_to_a_log_is_no_second_log(tmp_path: Path) -> None:
    (tmp_path / "run-7.log").write_text("x")
    (tmp_path / "latest.log").symlink_to("run-7.log")
    assert len(paths(tmp_path)) == 1


def test_standard_input_is_a_source_without_size() -> None:
    assert find_sources(["-", "-"]) == [Source("-", None)]


def test_a_folder_is_searched_for_what_looks_like_a_log(tmp_path: Path) -> None:
    wanted = [
        "a.LOG",
        "job.out",
        "k/finetune.e31337",
        "k/finetune.o31337-4",
        "k/nohup",
        "k/train.log.2026-11-24",
        "k/train_log",
        "k/worker.log.1",
        "n/r0/stderr.log.gz",
        "n/stdout",
        "notes.txt",
        "slurm-12",
        "x/train.log.zst",
        "y/m.jsonl",
    ]
    for name in [
        *wanted,
        "config.yaml",
        "model.safetensors",
        ".hidden.log",
        ".git/x.log",
        "data.gz",
        "train.py",
        "catalog",
        "net.o",
        "v1.0",
    ]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(gzip.compress(b"x") if name.endswith("gz") else b"x")
    assert sorted(paths(tmp_path)) == sorted(str(tmp_path / name) for name in wanted)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.out", b"\x7fELF\x02\x01\x01" + b"\0" * 9 + b"\x03\0>\0\x01\0\0\0"),
        ("weights.txt", b"PK\x03\x04\0\0\x08\x08\0\0model/data.pkl"),
        ("ids.out", bytes(range(256)) * 20),
    ],
)
def test_binary_files_in_a_folder_are_passed_over(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    (tmp_path / "run.log").write_bytes(b"x")
    assert paths(tmp_path) == [str(tmp_path / "run.log")]


def test_logs_with_zero_bytes_are_no_binary_files(tmp_path: Path) -> None:
    (tmp_path / "truncated.log").write_bytes(b"\0" * 10_000 + b"loss: 1\n")
    (tmp_path / "windows.log").write_bytes("loss: 1\n".encode("utf-16-le"))
    (tmp_path / "zeros-then.log").write_bytes(b"\0" * 100 + b"loss: 1\n")
    (tmp_path / "truncated-later.err").write_bytes(b"first\r\n" + b"\0" * 74 + b"Traceback\n")
    assert len(paths(tmp_path)) == 4


def test_a_binary_file_that_is_named_is_read(tmp_path: Path) -> None:
    (tmp_path / "core").write_bytes(b"\0\1\2" * 10)
    assert paths(tmp_path / "core") == [str(tmp_path / "core")]


def test_a_glob_finds_files_at_any_depth(tmp_path: Path) -> None:
    for name in ("attempt_0/0/stderr.log", "attempt_0/1/stderr.log", "attempt_0/1/stdout.log"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    assert paths(f"{tmp_path}/**/stderr.log") == [f"{tmp_path}/attempt_0/{n}/stderr.log" for n in (0, 1)]


def test_a_file_whose_name_looks_like_a_glob_is_itself(tmp_path: Path) -> None:
    (tmp_path / "run[1].log").write_text("x")
    (tmp_path / "run1.log").write_text("x")
    assert paths(tmp_path / "run[1].log") == [str(tmp_path / "run[1].log")]


@pytest.mark.parametrize("name", ["missing.log", "*.log", "a\0b", "x" * 5000])
def test_a_path_that_names_nothing_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(LogError) as refused:
        find_sources([f"{tmp_path}/{name}"])
    assert str(refused.value) == f"{tmp_path}/{name}: {NO_SUCH}"


@pytest.mark.parametrize("names", [[], ["config.yaml"], [".hidden.log"]])
def test_a_folder_without_logs_is_refused(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).write_text("x")
    with pytest.raises(LogError) as refused:
        find_sources([str(tmp_path)])
    assert str(refused.value) == (
        f"{tmp_path}: no logs in this folder; name the files if they are called otherwise than *.log, *.out, *.err or *.txt"
    )


def test_loops_of_links_end(tmp_path: Path) -> None:
    (tmp_path / "run.log").write_text("x")
    (tmp_path / "again").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "self.log").symlink_to("self.log")
    (tmp_path / "broken.log").symlink_to("nowhere.log")
    assert paths(tmp_path) == [str(tmp_path / "run.log")]
    with pytest.raises(LogError, match="no such file"):
        find_sources([str(tmp_path / "self.log")])


AS_NOBODY = """
import os, sys
from doctor.errors import LogError
from doctor.logs.source import blocks, find_sources
os.setuid(65534)
try:
    for source in find_sources(sys.argv[1:]):
        for block in blocks(source, lambda count: None):
            pass
except LogError as fault:
    print(fault)
"""


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become somebody who may not read"
)
@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("open/run.log", "can't be read to its end: Permission denied; check that the file is whole and readable"),
        ("shut", "Permission denied; check the permissions of the file and its folders"),
        ("shut/run.log", "Permission denied; check the permissions of the file and its folders"),
    ],
)
def test_what_may_not_be_read_is_one_clear_line(tmp_path_factory, root: Path, argument: str, message: str) -> None:
    folder = tmp_path_factory.mktemp("private")
    for one in (folder, *folder.parents):
        if one.name.startswith(("pytest-", "popen-", "private")):
            one.chmod(0o755)
    for name in ("open/run.log", "shut/run.log"):
        (folder / name).parent.mkdir()
        (folder / name).write_text("x")
    (folder / "open/run.log").chmod(0)
    (folder / "shut").chmod(0)
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, str(folder / argument)], env=environment, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == (f"{folder / argument}: {message}\n", "")


def test_a_file_that_is_gone_when_it_is_read_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(LogError) as refused:
        read(tmp_path / "gone.log")
    assert str(refused.value) == (
        f"{tmp_path}/gone.log: can't be read to its end: No such file or directory; check that the file is whole and readable"
    )


# Streams and growing files


def fed(path: Path, pieces: list[bytes]) -> threading.Thread:
    """A thread that writes these pieces into a FIFO, each with a write of its own."""
    os.mkfifo(path)

    def feed() -> None:
        with open(path, "wb", buffering=0) as fifo:
            for piece in pieces:
                fifo.write(piece)

    thread = threading.Thread(target=feed, daemon=True)
    thread.start()
    return thread


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
@pytest.mark.parametrize("packing", ["", *PACKERS])
def test_a_fifo_is_read_to_its_end_in_whatever_pieces_it_comes(tmp_path: Path, packing: str) -> None:
    data = PACKERS[packing](TEXT) if packing else TEXT
    writer = fed(tmp_path / "pipe", [bytes([byte]) for byte in data[:20]] + [data[20:]])
    (found,) = find_sources([str(tmp_path / "pipe")])
    assert found.size is None
    assert read(found.path, found.size) == TEXT
    writer.join()


class OneByOne(RawIOBase):
    """A slow pipe."""

    def __init__(self, data: bytes) -> None:
        self._bytes = iter(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:
        byte = next(self._bytes, None) if len(buffer) else None
        if byte is not None:
            buffer[0] = byte
        return byte is not None


@pytest.mark.parametrize("packing", PACKERS)
def test_a_packed_stream_is_known_however_slowly_it_comes(packing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "_open", lambda _: OneByOne(PACKERS[packing](b"a line\n")))
    assert read("slow") == b"a line\n"


def test_standard_input_is_read(root: Path) -> None:
    script = (
        "from doctor.logs.source import *; [print(b.data[:b.end]) for b in blocks(Source('-', None), lambda n: None)]"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=gzip.compress(b"abc\n"),
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert done.stdout == b"b'abc\\n'\n"


def test_a_file_that_grows_is_read_as_far_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_cuts, "BLOCK", 100)
    monkeypatch.setattr(block_cuts, "OVERLAP", 10)
    path = tmp_path / "run.log"
    path.write_bytes(TEXT)
    (found,) = find_sources([str(path)])
    read_bytes = 0
    with open(path, "ab") as growing:
        for block in blocks(found, lambda count: None):
            read_bytes += block.end - block.start
            growing.write(b"more\n" * 100)
            growing.flush()
    assert read_bytes == len(TEXT)


def test_a_small_log_that_was_pasted_is_read_as_it_was_printed(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    path.write_bytes(b"  one\n    two\n")
    assert read(path, 14) == b"one\n  two\n"


def test_what_is_read_is_told(tmp_path: Path) -> None:
    path = tmp_path / "run.log.gz"
    path.write_bytes(gzip.compress(TEXT))
    told: list[int] = []
    for _ in blocks(Source(str(path), path.stat().st_size), told.append):
        pass
    assert sum(told) == path.stat().st_size
