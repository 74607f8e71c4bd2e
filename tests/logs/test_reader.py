"""One log, block by block: the same records with the same numbers however it is cut."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doctor.catalog import Catalog
from doctor.logs import block_cuts, source
from doctor.logs import reader as reader_module
from doctor.logs.block_cuts import Block
from doctor.logs.index import Index
from doctor.logs.match import LogResult, find_in_blocks
from doctor.logs.reader import LogReader
from doctor.logs.run_facts import FactReader
from doctor.logs.watchdog import WaitReader

Find = Callable[..., LogResult]

ERROR = "RuntimeError: Expected to mark a variable ready only once."
TRACEBACK = """[rank{rank}]: Traceback (most recent call last):
[rank{rank}]:   File "/srv/run/train.py", line 38, in main
[rank{rank}]:     row = rows["text"]
[rank{rank}]: KeyError: 'text'
[rank{rank}]:
[rank{rank}]: The above exception was the direct cause of the following exception:
[rank{rank}]:
[rank{rank}]: Traceback (most recent call last):
[rank{rank}]:   File "/srv/run/train.py", line 39, in main
[rank{rank}]:     raise ValueError("bad row") from fault
[rank{rank}]: ValueError: bad row"""
PIECES = [
    "step {n} of many, nothing to see",
    "{{'loss': {n}.5, 'grad_norm': 1.0}}",
    ERROR,
    "[rank{rank}]: " + ERROR,
    " 50%|█████     | {n}/100 [00:01<00:01,  9.1it/s]\r 51%|█████     | {n}/100 [00:01<00:01,  9.1it/s]" + ERROR,
    "\x1b[31m" + ERROR + "\x1b[0m",
    TRACEBACK,
    TRACEBACK.replace("text", "other"),
    'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    g()\nOSError: disk {n}',
    "[rank{rank}]: RuntimeError: Connection closed by peer",
    "torch==2.{n}.0",
    "world_size: {n}",
    "Root Cause (first observed failure):\n[0]:\n  time      : 2026-11-24_04:39:59\n  host      : n1\n"
    "  rank      : {rank} (local_rank: 0)\n  exitcode  : 1 (pid: 7)",
    "training finished",
    "x" * 400,
    "漢字 🏖️ " * 20,
    "",
]


def log_of(pieces: list[tuple[int, int]]) -> bytes:
    """A log of pieces, given as their numbers and ranks."""
    return "\n".join(PIECES[kind].format(n=n, rank=rank) for n, (kind, rank) in enumerate(pieces)).encode()


def cut(data: bytes, block: int, small: Catalog, index: Index) -> LogResult:
    """The result on a log that is read in chunks of this size."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(block_cuts, "OVERLAP", 2048)
        patch.setattr(block_cuts, "CONTEXT", 2048)
        patch.setattr("doctor.logs.block_lines.LONG_LINE", 1024)
        blocks = block_cuts.cut_stream(data[n : n + block] for n in range(0, len(data), block))
        return find_in_blocks([("run.log", blocks)], small, index)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(PIECES) - 1), st.integers(0, 2)), max_size=30), st.integers(200, 4000))
def test_the_cut_into_blocks_changes_nothing(
    small: Catalog, small_index: Index, pieces: list[tuple[int, int]], block: int
) -> None:
    data = log_of(pieces)
    assert cut(data, block, small, small_index) == cut(data, len(data) + 1, small, small_index)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 2500), min_size=1, max_size=6), st.integers(500, 4000))
def test_a_line_longer_than_a_block_hides_nothing(
    small: Catalog, small_index: Index, gaps: list[int], block: int
) -> None:
    data = ("a\n" + ERROR.join("y" * gap for gap in [*gaps, 10]) + "\nb").encode()
    result = cut(data, block, small, small_index)
    assert result == cut(data, len(data) + 1, small, small_index)
    assert {finding.place.first for finding in result.findings} == {2}


@pytest.mark.parametrize("block", range(1, 12))
def test_every_byte_may_be_a_border(small: Catalog, small_index: Index, block: int) -> None:
    data = (f"one\ntwo\n{ERROR}\nfour\n" + TRACEBACK.format(rank=1) + "\nend").encode()
    result = cut(data, block * 37, small, small_index)
    assert [(finding.id, finding.place.first, finding.place.last, finding.count) for finding in result.findings] == [
        ("ddp/ready-twice", 3, 3, 1),
        ("data/missing-text", 8, 15, 1),
    ]
    assert (result.lines, result.size) == (16, len(data))


def test_a_traceback_across_a_border_is_one_record(small: Catalog, small_index: Index) -> None:
    data = (TRACEBACK.format(rank=1) + "\n").encode()
    for end in range(1, len(data)):
        at = data.rfind(b"\n", 0, end) + 1
        blocks = [Block(data, at), Block(data[at:], len(data) - at)] if at else [Block(data, len(data))]
        (finding,) = find_in_blocks([("run.log", blocks)], small, small_index).findings
        assert (finding.id, finding.count, finding.place.first, finding.place.last) == ("data/missing-text", 1, 4, 11)


@pytest.mark.parametrize(
    ("data", "lines"),
    [(b"", 0), (b"a", 1), (b"a\n", 1), (b"a\nb", 2), (b"\n", 1), (b"\n\n", 2), (b"a\r\nb\r\n", 2), (b"a\rb", 1)],
)
def test_lines_and_bytes_are_counted(find: Find, data: bytes, lines: int) -> None:
    result = find(data)
    assert (result.lines, result.size) == (lines, len(data))


@pytest.mark.parametrize(
    ("path", "ranks", "host"),
    [
        ("run.log", (), None),
        ("logs/rank_3.log", (3,), None),
        ("logs/rank-12/out.log", (12,), None),
        ("attempt_0/5/stderr.log", (5,), None),
        ("logs/node2/run.log", (), "node2"),
        ("gpu-node-01.log", (), "gpu-node-01"),
    ],
)
def test_the_path_tells_rank_and_host_where_lines_do_not(
    find: Find, path: str, ranks: tuple[int, ...], host: str | None
) -> None:
    (finding,) = find({path: ERROR}).findings
    assert (finding.ranks, finding.place.host) == (ranks, host)
    (finding,) = find({path: f"node9: [rank7]: {ERROR}"}).findings
    assert (finding.ranks, finding.place.host) == ((7,), "node9")


def test_a_flood_is_read_to_a_limit_and_counted_to_its_end(find: Find, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_module, "MOST_READ", 50)
    read = list[str]()
    placed = reader_module.LogReader.placed
    monkeypatch.setattr(
        reader_module.LogReader,
        "placed",
        lambda self, line, first, last: read.append(line.text) or placed(self, line, first, last),
    )
    (finding,) = find(f"{ERROR} again: {ERROR}\n" * 70_000).findings
    assert finding.count == 70_000
    assert len(read) <= 200


def test_a_flood_over_many_blocks_is_counted_once(
    small: Catalog, small_index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "MOST_READ", 10)
    result = cut(f"{ERROR}\n".encode() * 3000, 5000, small, small_index)
    assert [finding.count for finding in result.findings] == [3000]


def test_a_small_log_is_kept_for_the_second_pass_and_a_large_one_is_not(
    find: Find, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = "Expected to mark a vari\nable ready only once\n"
    assert [finding.id for finding in find("x\n" * 500 + broken).findings] == ["ddp/ready-twice"]
    monkeypatch.setattr(reader_module, "MOST_KEPT", 1000)
    assert find("x\n" * 500 + broken).findings == ()


READ_MUCH = """
import resource, sys
from doctor.catalog import catalog_of
from doctor.logs import block_cuts, source
from doctor.logs.index import compile_index
from doctor.logs.match import find_in_blocks
catalog = catalog_of([])
index = compile_index(catalog)
line = b"2026-11-24 05:11:18,001 [INFO] step 7 of many, nothing to see\\n"
piece = (line * (block_cuts.BLOCK // len(line) + 1))[: block_cuts.BLOCK]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
result = find_in_blocks([("run.log", block_cuts.cut_stream(piece for _ in range(64)))], catalog, index)
print(result.size, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in other units elsewhere")
def test_a_long_log_takes_the_memory_of_a_few_blocks(root: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-c", READ_MUCH], capture_output=True, text=True, env=environment, check=True
    )
    size, megabytes = map(int, done.stdout.split())
    assert size == 2**28
    assert megabytes < 120


def test_lines_of_metrics_are_counted_across_blocks(
    small_index: Index, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(block_cuts, "BLOCK", 40_000)
    monkeypatch.setattr(block_cuts, "OVERLAP", 2_000)
    log = tmp_path / "run.log"
    log.write_text(
        "".join(f"{{'loss': {n}.5}}\n" if n % 7 == 3 else f"line {n} of the log\n" for n in range(1, 20_000))
    )
    reader = LogReader(str(log), small_index, FactReader(()), WaitReader())
    assert not list(reader.read(source.blocks(source.Source(str(log), log.stat().st_size), lambda count: None)))
    points = reader.points()
    assert points is not None
    assert points.line.tolist() == [n for n in range(1, 20_000) if n % 7 == 3]
