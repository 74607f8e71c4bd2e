"""Logs that count steps though none of their numbers is known."""

import pytest

from doctor.logs.counting import counts_steps


@pytest.mark.parametrize(
    ("line", "counts"),
    [
        ("Epoch {n}: zork 0.5\n", True),
        ("[INFO] step {n}/90 took 1.5 s\n", True),
        ("Epoch 1: zork {n}.5\n", False),
        ("Epoch {n}\n", False),
        ("the version of step-{n} is 1.5\n", False),
    ],
)
def test_lines_that_count_and_measure(line: str, counts: bool) -> None:
    text = "".join(line.replace("{n}", str(n)) for n in range(9))
    assert counts_steps(text.encode()) is counts
    assert not counts_steps(text[: len(text) // 3].encode())
