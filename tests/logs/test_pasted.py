"""Logs that were copied into a ticket come out as they were printed, and no other log is touched."""

from pathlib import Path

import pytest

from doctor.logs.pasted import LEAST, unpasted

WIDTHS = [80, 100, 132]


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        (b"\n    a\n      b\n\n    c\n", b"\na\n  b\n\nc\n"),
        (b"\t\ta\r\n\t\t\tb", b"a\r\n\tb"),
        (b"  warnings.warn(\nstep 1\n", b"  warnings.warn(\nstep 1\n"),
        (b"a\n  b\n", b"a\n  b\n"),
        (b"  \n  \n", b"  \n  \n"),
        (b"", b""),
        (b"\n", b"\n"),
    ],
)
def test_what_all_lines_are_indented_by_goes(text: bytes, seen: bytes) -> None:
    assert unpasted(text) == seen


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        (b"step 1\rValueError: x\r", b"step 1\nValueError: x\n"),
        (b" 50%|##\r100%|####\n", b" 50%|##\n100%|####\n"),
        (b"step 1\r\nstep 2\r\n", b"step 1\r\nstep 2\r\n"),
        (b" 50%|##\r100%|####\nstep 2\n", b" 50%|##\r100%|####\nstep 2\n"),
    ],
)
def test_carriage_returns_end_lines_where_nothing_else_does(text: bytes, seen: bytes) -> None:
    assert unpasted(text) == seen


def broken(text: str, width: int) -> str:
    """A text as a terminal of this width shows it."""
    pieces = ([line[n : n + width] for n in range(0, len(line), width)] or [""] for line in text.split("\n"))
    return "\n".join(piece for line in pieces for piece in line)


@pytest.mark.parametrize("width", WIDTHS)
def test_what_a_terminal_broke_is_whole_again(fixture_logs: Path, width: int) -> None:
    """Of real logs with some long lines, but for those that are just as long as the terminal is wide: nobody can tell them."""
    logs = [log.read_text(errors="replace") for log in sorted((fixture_logs / "failing").glob("*.log"))]
    logs = [log for log in logs if "\r" not in log and "\x1b" not in log]
    whole = [
        log
        for log in logs
        if not any(line and len(line) % width == 0 for line in log.split("\n"))
        and sum(len(line) > width for line in log.split("\n")) >= 8
    ]
    mended = [unpasted(broken(log, width).encode()).decode() for log in whole]
    same = [
        [line for line in one.split("\n") if line] == [line for line in log.split("\n") if line]
        for one, log in zip(mended, whole, strict=True)
    ]
    assert len(whole) >= 30
    assert sum(same) > 0.8 * len(whole)
    assert all(one.count("\n") == broken(log, width).count("\n") for one, log in zip(mended, whole, strict=True))


def test_no_other_log_is_touched(fixture_logs: Path) -> None:
    logs = sorted(path for path in fixture_logs.rglob("*.log") if path.is_file())
    assert [log.stem for log in logs if unpasted(log.read_bytes()) != log.read_bytes()] == ["folded-terminal"]


def test_lines_that_say_the_same_are_no_broken_ones() -> None:
    text = "".join(
        f"step {n:05} " + "loss of the shard and nothing else to be said of it " * 2 + "x\n" for n in range(9)
    )
    assert unpasted(text.encode()) == text.encode()


def test_so_many_lines_must_be_broken() -> None:
    lines = [f"{word} " * 40 for word in ("alpha", "beta", "gamma", "delta")]
    for count in (1, len(lines)):
        text = broken("\n".join(lines[:count]), 100)
        assert (unpasted(text.encode()) != text.encode()) == (count >= LEAST)


def test_a_bar_or_a_colour_shows_that_nothing_was_pasted() -> None:
    text = broken("\n".join(f"{word} " * 40 for word in ("alpha", "beta", "gamma", "delta")), 100)
    assert unpasted(text.encode()) != text.encode()
    for drawn in ("\r 50%|##", "\x1b[31mred"):
        assert unpasted((text + drawn).encode()) == (text + drawn).encode()
