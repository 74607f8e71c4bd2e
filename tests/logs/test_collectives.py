"""Ranks that waited in different collectives are told from ranks that waited for one that is elsewhere."""

from dataclasses import replace

import pytest

from doctor.facts import Fact, Facts
from doctor.logs.collectives import call_left, calls_apart
from doctor.logs.records import Frame, Raised, Record

C10D = "/opt/venv/lib/python3.11/site-packages/torch/distributed/distributed_c10d.py"
GRAPH = "/opt/venv/lib/python3.11/site-packages/torch/autograd/graph.py"


def waited(rank: int | None, line: int, *inside: tuple[str, str]) -> tuple[Record, int]:
    frames = (Frame("/srv/run/train.py", line, "main"), *(Frame(path, 1, function) for path, function in inside))
    raised = Raised("RuntimeError", "RuntimeError: Timed out", 9, frames)
    return Record("run.log", 1, 9, raised.text, rank, None, None, (raised,)), 0


GATHER, BARRIER = waited(0, 28, (C10D, "all_gather")), waited(1, 32, (C10D, "barrier"))


def test_ranks_in_different_collectives_are_named_with_their_lines() -> None:
    assert [str(call) for call in calls_apart([BARRIER, GATHER], 2)] == [
        "rank 0 waited in all_gather, called at /srv/run/train.py:28",
        "rank 1 waited in barrier, called at /srv/run/train.py:32",
    ]


def test_backward_is_a_collective_as_well() -> None:
    backward = waited(0, 5, (GRAPH, "_engine_run_backward"))
    assert calls_apart([backward, BARRIER], None)[0].operation == "the reduction of gradients in backward()"


def test_so_is_the_forward_of_a_wrapped_model() -> None:
    """Its broadcast of buffers is a collective that no line of the program names."""
    forward = waited(0, 20, ("/opt/venv/lib/python3.11/site-packages/torch/nn/parallel/distributed.py", "forward"))
    assert str(calls_apart([forward, BARRIER], 2)[0]) == (
        "rank 0 waited in a collective of DistributedDataParallel itself, called at /srv/run/train.py:20"
    )


def test_the_same_collective_at_another_line_is_another_call() -> None:
    assert len(calls_apart([BARRIER, waited(0, 28, (C10D, "barrier"))], 2)) == 2


FAILED_ALONE = {"failed.rank": Fact(0), "failed.alone": Fact(value=True)}


def left(peer: str, rank: int | None = 0) -> Record:
    record = waited(rank, 7, (C10D, "all_reduce"))[0]
    raised = replace(record.chain[0], text=f"RuntimeError: Connection closed by peer [{peer}]:38296.")
    return replace(record, chain=(raised,))


def test_a_peer_on_the_same_host_that_did_not_fail_had_ended_normally() -> None:
    assert str(call_left(left("127.0.1.1"), 0, FAILED_ALONE)) == (
        "rank 0 waited in all_reduce, called at /srv/run/train.py:7"
    )
    assert call_left(left("::1"), 0, FAILED_ALONE) is not None


@pytest.mark.parametrize(
    ("record", "facts"),
    [
        (left("10.0.0.5"), FAILED_ALONE),
        (left("127.0.0.1", rank=1), FAILED_ALONE),
        (left("127.0.0.1", rank=None), FAILED_ALONE),
        (left("127.0.0.1"), {"failed.rank": Fact(0)}),
        (left("127.0.0.1"), {}),
    ],
    ids=["another host", "another rank", "no rank", "others failed", "no summary"],
)
def test_a_peer_that_may_have_failed_is_left_open(record: Record, facts: Facts) -> None:
    assert call_left(record, 0, facts) is None


@pytest.mark.parametrize(
    ("records", "world_size"),
    [
        ([BARRIER, waited(0, 32, (C10D, "barrier"))], 2),
        ([GATHER, BARRIER], 3),
        ([waited(1, 1, (C10D, "barrier")), waited(2, 1, (C10D, "all_gather"))], None),
        ([GATHER, waited(1, 40)], 2),
        ([GATHER, waited(None, 32, (C10D, "barrier"))], 2),
        ([], None),
    ],
    ids=["same collective", "a rank is silent", "rank 0 is silent", "no collective", "no rank", "nothing"],
)
def test_what_a_silent_rank_may_have_caused_is_left_open(
    records: list[tuple[Record, int]], world_size: int | None
) -> None:
    assert calls_apart(records, world_size) == ()
