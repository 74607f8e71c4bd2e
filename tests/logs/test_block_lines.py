"""The lines of a block: numbers, what stands around a hit, what follows it."""

import pytest

from doctor.logs.block_cuts import Block
from doctor.logs.block_lines import AFTER, BEFORE, LONG_LINE, BlockLines
from doctor.logs.prefixes import Line


def lines_of(data: bytes, first: int) -> BlockLines:
    return BlockLines(Block(data, len(data)), first, data.count(b"\n"))


def around(data: bytes, word: bytes) -> Line:
    end = data.index(word) + len(word)
    return lines_of(data, 1).around(end)


def following(data: bytes, word: bytes) -> list[tuple[int, str]]:
    lines = lines_of(data, 1)
    end = data.index(word) + len(word)
    lines.number(end - 1)
    return [(number, line.text) for number, line in lines.following(end)]


def test_lines_are_numbered_from_the_first() -> None:
    lines = lines_of(b"a\nb\n\nd", 7)
    assert [lines.number(offset) for offset in range(6)] == [7, 7, 8, 8, 9, 10]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"one\nan error here\nthree", "an error here"),
        (b"an error", "an error"),
        (b"an error\n", "an error"),
        (b"an error\r\nnext", "an error"),
        (b"[rank1]: an error\n", "an error"),
        (b"\x1b[31man error\x1b[0m\n", "an error"),
        (
            b" 5%|#   | 1/20 [00:01<00:10, 1.0it/s]\r 10%|##  | 2/20 [00:02<00:09, 1.0it/s]an error\r 15%|###",
            "an error",
        ),
        (b"bar\ran error", "an error"),
        (b"an error\rbar", "an error"),
        (b'{"log": "first\\nan error\\nlast"}', "first\nan error\nlast"),
    ],
)
def test_the_text_around_a_hit(data: bytes, text: str) -> None:
    assert around(data, b"an error").text == text


def test_a_long_line_is_read_in_a_window() -> None:
    data = b"x" * LONG_LINE + b" an error " + b"y" * LONG_LINE
    text = around(data, b"an error").text
    assert text == "x" * (BEFORE - len(" an error")) + " an error " + "y" * (AFTER - 1)


def test_the_rank_of_a_line_is_that_of_its_prefix() -> None:
    assert around(b"[rank0]: fine\n[rank1]: an error\n[rank2]: fine", b"an error").rank == 1


@pytest.mark.parametrize("prefix", [b"3: ", b"[rank3]: ", b"gpu-node-1: [rank3]: "])
def test_a_launchers_prefix_counts_behind_the_carriage_return_of_a_bar(prefix: bytes) -> None:
    line = prefix + b"\r  0%|    | 0/2 [00:00<?, ?it/s]\x1b[Aan error\n"
    assert (around(line, b"an error").rank, around(line, b"an error").text) == (3, "an error")
    lines = lines_of(line + prefix + b"next", 1)
    lines.number(len(line) - 2)
    first, second = (one for _, one in lines.following(len(line) - 1))
    assert first.key == second.key != ()


def test_following_starts_with_the_line_of_the_hit() -> None:
    assert following(b"one\ntwo\nthree\n\nfive", b"two") == [(2, "two"), (3, "three"), (4, ""), (5, "five")]


def test_following_lines_show_what_a_terminal_would() -> None:
    assert following(b"a\rtwo\r\nx\ry\rthree\nfour\r\n", b"two") == [(1, "two"), (2, "three"), (3, "four")]


def test_behind_leaves_the_line_of_the_hit_out() -> None:
    lines = lines_of(b"one\n[rank1]: two\\nthree\nfour\nfive", 1)
    lines.number(15)
    assert [(number, line.text) for number, line in lines.behind(16)] == [(3, "four"), (4, "five")]
