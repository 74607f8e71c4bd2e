"""Who waited for whom: the rank to look at is the one that does not complain."""

import pytest

from doctor.finding import stamp
from doctor.logs.prefixes import read_lines
from doctor.logs.watchdog import WaitReader
from doctor.waits import Wait, missed


def wait(rank: int, sequence: int = 37, operation: str = "ALLREDUCE", **changes: object) -> Wait:
    return Wait(rank, sequence=sequence, operation=operation, elements=1, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("waits", "world_size", "ranks", "words"),
    [
        ([wait(0), wait(1), wait(3)], 4, (2,), "Ranks 0, 1, 3 waited. Rank 2 printed no timeout"),
        ([wait(0), wait(1, enqueued=36, completed=36), wait(2, enqueued=37, completed=36)], 3, (1,), "never entered"),
        ([wait(0), wait(1), wait(2, operation="BROADCAST")], 3, (2,), "another collective"),
        ([wait(0), wait(1, sequence=36), wait(2)], 3, (1,), "was behind, at sequence number 36"),
        ([wait(0), wait(1)], 2, (), "the transport between them is what hangs"),
        ([wait(0), wait(1)], None, (), "the transport between them is what hangs"),
    ],
)
def test_who_is_missing(waits: list[Wait], world_size: int | None, ranks: tuple[int, ...], words: str) -> None:
    found = missed(waits, world_size)
    assert found is not None
    assert found.ranks == ranks
    assert words in found.sentence


def test_without_waits_nothing_is_said() -> None:
    assert missed([], 8) is None


def test_the_group_that_began_to_wait_first_counts() -> None:
    late = [Wait(rank, group="1", sequence=9, operation="BARRIER", started=700.0) for rank in (0, 1)]
    early = [Wait(rank, group="0", sequence=5, operation="ALLREDUCE", started=100.0) for rank in (0, 2)]
    found = missed([*late, *early], 3)
    assert found is not None
    assert found.ranks == (1,)
    assert "01-01 00:01:40.000" in found.sentence


LINES = [
    "[rank1]:[E1124 03:14:05.500000000 ProcessGroupNCCL.cpp:683] [Rank 1] Watchdog caught collective operation timeout: "
    "WorkNCCL(SeqNum=37, OpType=ALLREDUCE, NumelIn=1024, NumelOut=1024, Timeout(ms)=600000) ran for 600029 milliseconds "
    "before timing out.",
    "[rank1]:[E1124 03:14:05.510000000 ProcessGroupNCCL.cpp:2275] [PG ID 0 PG GUID 0(default_pg) Rank 1]  failure detected by "
    "watchdog at work sequence id: 37 PG status: last enqueued work: 38, last completed work: 36",
]


def test_lines_become_one_wait() -> None:
    reader = WaitReader()
    for line in LINES:
        reader.take(read_lines(line.encode())[0], None)
    plain, named = sorted(reader.waits(), key=lambda wait: wait.group)
    assert (plain.rank, plain.sequence, plain.operation, plain.elements) == (1, 37, "ALLREDUCE", 1024)
    assert plain.started is not None
    assert stamp(plain.started) == "11-24 03:04:05.500"
    assert (named.rank, named.enqueued, named.completed) == (1, 38, 36)


def test_a_line_without_a_rank_takes_that_of_its_log() -> None:
    reader = WaitReader()
    reader.take(
        read_lines(
            b"Watchdog caught collective operation timeout: WorkNCCL(SeqNum=1, OpType=BROADCAST, Timeout(ms)=10)"
        )[0],
        5,
    )
    assert [wait.rank for wait in reader.waits()] == [5]
