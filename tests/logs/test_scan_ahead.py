"""Blocks come back in order with what is in them, whoever scanned them and whatever became of the others."""

import errno
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing import synchronize
from pathlib import Path

import pytest

from doctor.errors import LogError
from doctor.logs import block_cuts
from doctor.logs.block_cuts import Block, Extent, LogBlock, PlainFile, cut_file
from doctor.logs.block_scan import BlockScanner, Scanned
from doctor.logs.marks import METRIC
from doctor.logs.metrics import METRIC_PATTERNS
from doctor.logs.scan import compile_patterns
from doctor.logs.scan_ahead import ALONE, scan_ahead
from doctor.logs.scan_workers import SLOT, WORKERS

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux only")


@pytest.fixture(scope="module")
def scanner() -> BlockScanner:
    patterns = ["an error", *METRIC_PATTERNS]
    return BlockScanner(compile_patterns(patterns, patterns), ["some/error", *[METRIC] * len(METRIC_PATTERNS)])


def made(count: int) -> list[Block]:
    texts = [f"block {n}\n{{'loss': {n}.5, 'epoch': {n}}}\n".encode() + b"an error\n" * (n % 3) for n in range(count)]
    return [Block(text, len(text), 1) for text in texts]


def workers() -> set[int]:
    """The processes that this one has started and that are alive."""
    found = set[int]()
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError):  # a thread that has ended meanwhile
            found |= {int(pid) for pid in (task / "children").read_text().split()}
    return found


def check(scanner: BlockScanner, blocks: Sequence[LogBlock], found: Iterator[tuple[LogBlock, Scanned]]) -> None:
    for block, (same, scanned) in zip(blocks, found, strict=True):
        alone = scanner.scan(block)
        assert (same.data, same.end, same.start) == (block.data, block.end, block.start)
        assert (scanned.hits, scanned.newlines) == (alone.hits, alone.newlines)
        assert scanned.metrics.value.tolist() == alone.metrics.value.tolist() != []


@pytest.mark.parametrize("count", [0, 1, ALONE, ALONE + 1, 60])
def test_blocks_come_in_order_with_what_is_in_them(scanner: BlockScanner, count: int) -> None:
    blocks = made(count)
    check(scanner, blocks, scan_ahead(scanner, iter(blocks)))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "run.log"
    path.write_bytes(b"".join(block.data for block in made(60)))
    return path


def extents(log: Path) -> Iterator[Extent]:
    with open(log, "rb") as file, pytest.MonkeyPatch.context() as patch:
        patch.setattr(block_cuts, "BLOCK", 200)
        patch.setattr(block_cuts, "OVERLAP", 50)
        yield from cut_file(PlainFile(str(log), file.fileno()), log.stat().st_size, lambda count: None)


@LINUX
def test_blocks_of_a_file_are_read_by_those_who_scan_them(scanner: BlockScanner, log: Path) -> None:
    found = list(scan_ahead(scanner, extents(log)))
    assert len(found) > 2 * ALONE
    assert ["data" in vars(block) for block, _ in found] == [n < ALONE for n in range(len(found))]
    check(scanner, list(extents(log)), iter(found))


@LINUX
def test_a_file_that_others_can_not_read_is_told(
    scanner: BlockScanner, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut, pread = list(extents(log)), os.pread
    before, ours = workers(), os.getpid()

    def refused(descriptor: int, size: int, offset: int) -> bytes:
        if os.getpid() != ours:
            raise OSError(errno.EIO, "Input/output error")
        return pread(descriptor, size, offset)

    monkeypatch.setattr(os, "pread", refused)
    with pytest.raises(LogError, match=re.escape(f"{log}: can't be read to its end: Input/output error")):
        list(scan_ahead(scanner, iter(cut)))
    assert workers() == before


@LINUX
def test_only_a_large_log_has_others_scan(scanner: BlockScanner) -> None:
    before = workers()
    found = scan_ahead(scanner, iter(made(60)))
    for _ in range(ALONE):
        next(found)
        assert workers() == before
    next(found)
    assert len(workers() - before) == WORKERS
    list(found)
    assert workers() == before


def test_a_block_that_is_too_long_for_others_is_scanned(scanner: BlockScanner) -> None:
    blocks = made(12)
    blocks[9] = Block(b"x" * SLOT + blocks[9].data, SLOT + blocks[9].end, 1)
    check(scanner, blocks, scan_ahead(scanner, iter(blocks)))


def test_where_threads_run_nothing_is_forked(scanner: BlockScanner) -> None:
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        before, blocks = workers(), made(20)
        found = scan_ahead(scanner, iter(blocks))
        first = [next(found) for _ in range(10)]
        assert workers() == before
        check(scanner, blocks, iter([*first, *found]))
    finally:
        done.set()
        thread.join()


@LINUX
def test_a_process_that_is_killed_costs_time_only(scanner: BlockScanner) -> None:
    blocks, before = made(60), workers()
    found = scan_ahead(scanner, iter(blocks))
    first = [next(found) for _ in range(ALONE + 2)]
    os.kill(max(workers() - before), signal.SIGKILL)
    check(scanner, blocks, iter([*first, *found]))


@LINUX
@pytest.mark.parametrize("started", [0, 1])
def test_a_machine_that_starts_no_more_processes(
    scanner: BlockScanner, monkeypatch: pytest.MonkeyPatch, started: int
) -> None:
    fork, left = os.fork, [None] * started

    def refused() -> int:
        if not left:
            raise BlockingIOError("Resource temporarily unavailable")
        left.pop()
        return fork()

    monkeypatch.setattr(os, "fork", refused)
    before, blocks = workers(), made(20)
    check(scanner, blocks, scan_ahead(scanner, iter(blocks)))
    assert workers() == before


def test_a_machine_without_shared_memory_scans_alone(scanner: BlockScanner, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*arguments: object, **named: object) -> None:
        raise OSError("Function not implemented")

    monkeypatch.setattr(synchronize.SemLock, "__init__", refused)
    blocks = made(20)
    check(scanner, blocks, scan_ahead(scanner, iter(blocks)))


@LINUX
@pytest.mark.parametrize("count", [2, ALONE + 1, 20])
def test_a_failure_to_read_is_passed_on_and_nobody_is_left(scanner: BlockScanner, count: int) -> None:
    def failing() -> Iterator[Block]:
        yield from made(count)
        raise LogError("no more")

    before = workers()
    with pytest.raises(LogError, match="no more"):
        list(scan_ahead(scanner, failing()))
    assert workers() == before


@LINUX
def test_nobody_outlives_a_process_that_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    log.write_text("a line like any other\n" * 1_500_000)
    code = (
        "import sys, time; from doctor import catalog; from doctor.logs import reader, match, source\n"
        "from doctor.logs.index import load_index\n"
        "def slow(count): time.sleep(0.3)\n"
        "known = catalog.load()\n"
        f"match.find(source.find_sources([{str(log)!r}]), known, load_index(known), slow)"
    )
    started = subprocess.Popen([sys.executable, "-c", code])
    children = Path(f"/proc/{started.pid}/task/{started.pid}/children")
    others = until(lambda: children.read_text().split())
    started.kill()
    started.wait()
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in others))


def until(asked, seconds: float = 120):  # type: ignore[no-untyped-def]
    """What is asked for, once it is true."""
    limit = time.monotonic() + seconds
    while not (found := asked()):
        assert time.monotonic() < limit
        time.sleep(0.01)
    return found
