"""Ranks that waited in different collectives are told from ranks that waited for one that is elsewhere."""

import pytest

from doctor.logs.collectives import calls_apart
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


@pytest.mark.parametrize(
    ("records", "world_size"),
    [
        ([BARRIER, waited(0, 28, (C10D, "barrier"))], 2),
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
