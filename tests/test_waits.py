"""Who waited for whom: the rank to look at is the one that does not complain."""

import pytest

from doctor.finding import stamp
from doctor.logs.prefixes import read_lines
from doctor.logs.watchdog import WaitReader
from doctor.waits import Wait, different_calls, missed


def wait(rank: int, sequence: int = 37, operation: str = "ALLREDUCE", **changes: object) -> Wait:
    known: dict[str, object] = {"group": "0", "elements": 1, "timed_out": True} | changes
    return Wait(rank, sequence=sequence, operation=operation, **known)  # type: ignore[arg-type]


IDLE = Wait(1, "0", enqueued=36, completed=36)


@pytest.mark.parametrize(
    ("waits", "world_size", "ranks", "words"),
    [
        ([wait(0), wait(1), wait(3)], 4, (2,), "Rank 2 printed no timeout"),
        ([wait(0), IDLE], None, (1,), "never entered"),
        ([wait(0), IDLE, wait(2, enqueued=37, completed=36)], 3, (1,), "never entered"),
        ([wait(0)], None, (), "No other rank printed a timeout"),
        (
            [wait(0, group="1"), wait(2, group="4"), Wait(3, "0", enqueued=-1, completed=-1)],
            None,
            (3,),
            "Rank 3 printed no",
        ),
    ],
)
def test_who_is_missing(waits: list[Wait], world_size: int | None, ranks: tuple[int, ...], words: str) -> None:
    found = missed(waits, world_size)
    assert found is not None
    assert (found.ranks, found.unheard, found.apart) == (ranks, True, ())
    assert words in found.sentence


@pytest.mark.parametrize(
    ("waits", "world_size", "words"),
    [
        ([wait(0), wait(1, sequence=36), wait(2)], 3, "Rank 1 was behind, at sequence number 36"),
        ([wait(0), wait(1)], 2, "the transport between them is what hangs"),
        ([wait(0), wait(1)], None, "look for a rank that prints no timeout"),
        ([wait(0, group="7"), wait(1, group="8")], 8, "in those of different process groups"),
        ([wait(0), wait(1, operation="SEND", sequence=9)], 2, "the transport between them is what hangs"),
    ],
)
def test_where_all_waited_none_is_missing(waits: list[Wait], world_size: int | None, words: str) -> None:
    found = missed(waits, world_size)
    assert found is not None
    assert (found.ranks, found.unheard, found.apart) == ((), False, ())
    assert words in found.sentence


def test_without_process_groups_nothing_is_proved() -> None:
    """Tensor and data parallel groups count and time out for themselves, and old releases don't say which one it is."""
    found = missed([wait(0, group=""), wait(1, group="", operation="BROADCAST")], 2)
    assert found is not None
    assert (found.apart, found.unheard) == ((), False)
    assert "or in those of different process groups" in found.sentence


def test_the_ranks_that_waited_are_named() -> None:
    found = missed([wait(0), wait(1), wait(3)], 4)
    assert found is not None
    assert found.waiting == "Ranks 0, 1, 3 waited."


def test_a_rank_whose_watchdog_reports_something_else_did_not_wait() -> None:
    assert missed([wait(0, timed_out=False, enqueued=40, completed=36)], 2) is None


def test_the_parts_of_an_all_to_all_may_differ() -> None:
    parts = {rank: wait(rank, operation="ALLTOALL_BASE", elements=7 + rank) for rank in (0, 1)}
    assert not different_calls(parts)


@pytest.mark.parametrize(
    ("other", "apart"),
    [
        (wait(1, operation="BROADCAST"), True),
        (wait(1, elements=2), True),
        (wait(1, at="train.py:9"), True),
        (wait(1, sequence=42), True),
        (wait(1, at="train.py:7"), False),
        (wait(1, sequence=41), False),
        (wait(1, sequence=38, elements=2), False),
        (wait(1, operation="SEND", sequence=9), False),
    ],
    ids=["operation", "size", "line", "far ahead", "same", "ahead", "the next one", "pairwise"],
)
def test_what_proves_that_ranks_called_different_collectives(other: Wait, apart: bool) -> None:
    """A rank may have ended the collective that the other is stuck in, and broadcasts behind it that it only had to send."""
    first = wait(0, at="train.py:7")
    assert bool(different_calls({0: first, 1: other})) == apart
    found = missed([first, other], 2)
    assert found is not None
    assert ("different collectives" in found.sentence) == apart


def test_without_waits_nothing_is_said() -> None:
    assert missed([], 8) is None


def test_the_group_that_began_to_wait_first_counts() -> None:
    late = [wait(rank, 9, "BARRIER", group="1", started=700.0) for rank in (0, 1)]
    early = [wait(rank, 5, group="0", started=100.0) for rank in (0, 2)]
    found = missed([*late, *early], 3)
    assert found is not None
    assert found.ranks == (1,)
    assert "01-01 00:01:40.000" in found.waiting


LINES = [
    "[rank1]:[E1124 03:14:05.500000000 ProcessGroupNCCL.cpp:683] [Rank 1] Watchdog caught collective operation timeout: "
    "WorkNCCL(SeqNum=37, OpType=ALLREDUCE, NumelIn=1024, NumelOut=1024, Timeout(ms)=600000) ran for 600029 milliseconds "
    "before timing out.",
    "[rank1]:[E1124 03:14:05.510000000 ProcessGroupNCCL.cpp:2275] [PG ID 0 PG GUID 0(default_pg) Rank 1]  failure detected by "
    "watchdog at work sequence id: 37 PG status: last enqueued work: 38, last completed work: 36",
]


STACK = [
    "[rank1]:[E1124 03:14:05.520000000 ProcessGroupNCCL.cpp:733] Stack trace of the failed collective: ",
    "#0 all_reduce from /opt/venv/lib/python3.12/site-packages/torch/distributed/distributed_c10d.py:3068",
    "#1 evaluate from /srv/run/train.py:19",
    "#2 <module> from /srv/run/train.py:31",
]


def test_lines_become_one_wait() -> None:
    reader = WaitReader()
    stack = [read_lines(line.encode())[0] for line in STACK]
    for line in LINES:
        reader.take(read_lines(line.encode())[0], None)
    reader.take(stack[0], None, stack[1:])
    (found,) = reader.waits()
    assert (found.rank, found.group, found.sequence, found.operation, found.elements) == (1, "0", 37, "ALLREDUCE", 1024)
    assert found.started is not None
    assert stamp(found.started) == "11-24 03:04:05.500"
    assert (found.enqueued, found.completed, found.timed_out) == (38, 36, True)
    assert str(found) == "rank 1 waited in ALLREDUCE number 37 of 1024 elements, called at /srv/run/train.py:19"


def test_the_status_of_a_rank_that_is_told_of_a_timeout_is_no_wait() -> None:
    reader = WaitReader()
    told = (
        b"[rank0]:[E1124 22:49:15.408548598 ProcessGroupNCCL.cpp:1914] [PG ID 0 PG GUID 0(default_pg) Rank 0] Received a dump "
        b"signal due to a collective timeout from  rank 1 and we will try our best to dump the debug info. Last enqueued NCCL "
        b"work: 30, last completed NCCL work: 30."
    )
    reader.take(read_lines(told)[0], None)
    assert reader.waits() == (Wait(0, "0", enqueued=30, completed=30),)


def test_what_was_told_before_the_timeout_is_kept() -> None:
    reader = WaitReader()
    told = LINES[1].replace(
        "failure detected by watchdog at work sequence id: 37 PG status: last", "Received a dump signal. Last"
    )
    for line in (told, *LINES):
        reader.take(read_lines(line.encode())[0], None)
    (found,) = reader.waits()
    assert (found.sequence, found.timed_out, found.enqueued, found.completed) == (37, True, 38, 36)


def test_another_group_keeps_its_own_numbers() -> None:
    reader = WaitReader()
    other = LINES[1].replace("PG GUID 0(default_pg)", "PG GUID 7").replace("id: 37", "id: 5")
    for line in (LINES[0], other):
        reader.take(read_lines(line.encode())[0], None)
    assert [(wait.group, wait.sequence, wait.timed_out) for wait in reader.waits()] == [
        ("", 37, True),
        ("7", None, False),
    ]


def test_a_line_without_a_rank_takes_that_of_its_log() -> None:
    reader = WaitReader()
    reader.take(
        read_lines(
            b"Watchdog caught collective operation timeout: WorkNCCL(SeqNum=1, OpType=BROADCAST, Timeout(ms)=10)"
        )[0],
        5,
    )
    assert [wait.rank for wait in reader.waits()] == [5]
