"""Lines made clean: colours, bars and prefixes go, and what the prefixes say of rank, host and time stays."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doctor.finding import stamp
from doctor.logs.prefixes import LONGEST_LINE, Line, decoded, has_labels, read_lines, strip_prefixes

ERROR = "RuntimeError: Expected to mark a variable ready only once."


def said(text: str) -> tuple[str, int | None, str | None, str | None]:
    """Text, rank, host and time (as month, day and clock) of a line."""
    line = strip_prefixes(text)
    return line.text, line.rank, line.host, None if line.time is None else stamp(line.time)


PREFIXES = [
    # torchrun, elastic
    ("[rank3]: ", 3, None, None),
    ("[default1]:", 1, None, None),
    ("[default1]:[rank9]: ", 9, None, None),
    ("[trainer2]:", 2, None, None),
    ("[0] [0] ", 0, None, None),
    ("[0] ", 0, None, None),
    # schedulers and launchers
    ("12: ", 12, None, None),
    (" 3: ", 3, None, None),
    ("[1,31]<stdout>:", 31, None, None),
    ("[1,31]<stderr>: ", 31, None, None),
    ("[1,mpirank:3,algo-1]<stderr>:", 3, None, None),
    ("[prterun-login-7@1,5]<stdout>: ", 5, None, None),
    ("gpu187:1: ", None, "gpu187", None),
    ("[gpu187:1]: ", None, "gpu187", None),
    ("worker-1: [rank1]: ", 1, "worker-1", None),
    ("node3: [default1]:[rank1]: ", 1, "node3", None),
    # Ray, SkyPilot, vLLM
    ("(task, pid=7, ip=10.0.0.1) ", None, "10.0.0.1", None),
    ("(train_fn pid=7) ", None, None, None),
    ("(EngineCore_DP0 pid=12) ERROR 01-02 03:04:05 [core.py:123] ", None, None, "01-02 03:04:05.000"),
    ("INFO 01-02 03:04:05 engine.py:12] ", None, None, "01-02 03:04:05.000"),
    # containers
    ("trainer-1  | ", None, None, None),
    ("trainer_1  | ", None, None, None),
    ("[pod/trainer-0/main] ", None, "trainer-0", None),
    ("2025-01-02T03:04:05.678901234Z stdout F ", None, None, "01-02 03:04:05.678"),
    ("N2025-01-02T03:04:05.678Z ", None, None, "01-02 03:04:05.678"),
    ("\x01\x00\x00\x00\x00\x00\x00\x12" + "2025-01-02T03:04:05Z ", None, None, "01-02 03:04:05.000"),
    ("2025-01-02 03:04:05.678 [12/train/5 (pid 9)] ", None, None, "01-02 03:04:05.678"),
    # loggers
    ("2025-01-02 03:04:05,678 ", None, None, "01-02 03:04:05.678"),
    ("2025/01/02 03:04:05 ", None, None, "01-02 03:04:05.000"),
    ("ERROR:2025-01-02 03:04:05,678:", None, None, "01-02 03:04:05.678"),
    ("2025-01-02 03:04:05.678 | SUCCESS  | __main__:<module>:12 - ", None, None, "01-02 03:04:05.678"),
    ("| 2025-01-02 03:04:05 | INFO | ", None, None, "01-02 03:04:05.000"),
    ("[2025-01-02T03:04:05+01:00] ", None, None, "01-02 03:04:05.000"),
    ("【2025-01-02 03:04:05】", None, None, "01-02 03:04:05.000"),
    ("2025-01-02 03:04:05,678 - ERROR - __main__ - ", None, None, "01-02 03:04:05.678"),
    ("2025-01-02 03:04:05,678 - root - INFO - ", None, None, "01-02 03:04:05.678"),
    ("11/24/2025 04:39:45 - WARNING - __main__ - ", None, None, "11-24 04:39:45.000"),
    ("[11/24/26 04:39:45] ", None, None, "11-24 04:39:45.000"),
    ("[I 2025-01-02 03:04:05,678] ", None, None, "01-02 03:04:05.678"),
    ("[04:39:45] ", None, None, None),
    ("W0409 12:00:01.123456 19 torch/distributed/api.py:1028] ", None, None, "04-09 12:00:01.123"),
    ("[W409 12:00:01.123456 socket.cpp:207] ", None, None, "04-09 12:00:01.123"),
    ("[rank2]:[E1124 04:39:45.065187917 ProcessGroupNCCL.cpp:632] ", 2, None, "11-24 04:39:45.065"),
    ("[INFO|trainer.py:123] >> ", None, None, None),
    ("[INFO|trainer.py:2313] 2025-01-02 03:04:05,678 >> ", None, None, "01-02 03:04:05.678"),
    ("[2025-01-02 03:04:05,678] [INFO] [axolotl.train] [PID:77] [RANK:1] ", 1, None, "01-02 03:04:05.678"),
    ("[2025-01-02 03:04:05,678] [INFO] [axolotl.cli.config.load_cfg:346] [PID:77] ", None, None, "01-02 03:04:05.678"),
    ("[2025-01-02 03:04:05,678] [WARNING] [engine.py:12:__init__] [Rank 4] ", 4, None, "01-02 03:04:05.678"),
    ("[rank3]:[titan] 2025-01-02 03:04:05,123 - root - INFO - ", 3, None, "01-02 03:04:05.123"),
    # pastes
    ("> ", None, None, None),
    ("> > ", None, None, None),
    ("[38/610] ", None, None, None),
    (" 50%|█████     | 2/4 [00:00<00:00,  8.11it/s]", None, None, None),
    ("Loading checkpoint shards:  50%|█████     | 2/4 [00:00<00:00,  8.11it/s]", None, None, None),
    ("Map (num_proc=4): 100%|##########| 10/10 [00:00<00:00, 8.11 examples/s]", None, None, None),
    ("  0%|          | 0/4 [00:00<?, ?it/s][rank5]: ", 5, None, None),
]


@pytest.mark.parametrize(("prefix", "rank", "host", "clock"), PREFIXES, ids=[prefix for prefix, *_ in PREFIXES])
def test_prefixes_go_and_what_they_say_stays(
    prefix: str, rank: int | None, host: str | None, clock: str | None
) -> None:
    raw = f"{prefix}{ERROR}".encode()
    (line,) = read_lines(raw)
    assert (line.text, line.rank, line.host, None if line.time is None else stamp(line.time)) == (
        ERROR,
        rank,
        host,
        clock,
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("node3: 2025-01-02T03:04:05.678Z [default1]:[rank9]: x", ("x", 9, "node3", "01-02 03:04:05.678")),
        (
            "2025-01-02T03:04:05Z stderr F [rank1]: W0409 12:00:01.123456 19 a/b.py:8] x",
            ("x", 1, None, "01-02 03:04:05.000"),
        ),
        ("> > 12: [rank12]: x", ("x", 12, None, None)),
        (
            "(worker pid=7, ip=10.0.0.2) [rank3]: [2025-01-02 03:04:05,678] [INFO] [axolotl.train] [PID:7] [RANK:1] x",
            ("x", 3, "10.0.0.2", "01-02 03:04:05.678"),
        ),
    ],
)
def test_prefixes_stack(text: str, expected: tuple[object, ...]) -> None:
    assert said(text) == expected


def test_indentation_behind_a_prefix_stays() -> None:
    assert [
        strip_prefixes(f'{prefix}  File "a.py", line 3').text
        for prefix in ("[rank0]: ", "> ", "12: ", "[0] ", "gpu187:1: ", "2025-01-02T03:04:05Z ")
    ] == ['  File "a.py", line 3'] * 6


@pytest.mark.parametrize(
    "text",
    [
        "train.py:38: UserWarning: something",
        "pair.cc:553: Connection closed",
        "RuntimeError: 12",
        "RuntimeError: boom 50%|█████     | 2/4 [00:00<00:00,  8.11it/s]",
        "CUDA error: out of memory",
        "torch 2.4.0",
        "mat1 and mat2 shapes cannot be multiplied",
        "Exception: see [rank0]: above",
        "[1, 2, 3] is no shape",
        "cuda:0: no kernel",
        "",
        "    raise ValueError",
    ],
)
def test_other_text_is_no_prefix(text: str) -> None:
    assert strip_prefixes(text) == Line(text)


def test_streams_are_told_apart_by_what_prefixes_say_of_the_process_not_by_time() -> None:
    one, later, other = (
        strip_prefixes(text).key
        for text in (
            "2025-01-02T03:04:05Z [rank1]: a",
            "2025-01-02T03:04:06Z [rank1]: b",
            "2025-01-02T03:04:05Z [rank2]: a",
        )
    )
    assert one == later != other


def test_a_level_is_told() -> None:
    prefixes = [
        "[ERROR] ",
        "E1124 04:39:59.123456 19 a.py:7] ",
        "2025-01-02 03:04:05,678 - INFO - root - ",
        "INFO 01-02 03:04:05 x.py:12] ",
        "ERROR:2025-01-02 03:04:05,678:",
        "2025-01-02 03:04:05.678 | ERROR    | a.b:main:12 - ",
        "| 2025-01-02 03:04:05 | INFO | ",
    ]
    assert [
        strip_prefixes(prefix + "x").level != "" for prefix in [*prefixes, "", "[rank0]: ", "2025-01-02T03:04:05Z "]
    ] == [True] * 7 + [False] * 3


def test_what_ray_says_of_equal_lines_goes() -> None:
    (line,) = read_lines(b"\x1b[36m(Worker pid=7)\x1b[0m KeyError: 'a'\x1b[32m [repeated 16x across cluster]\x1b[0m")
    assert line.text == "KeyError: 'a'"
    (line,) = read_lines(b"(W pid=7) x [repeated 3x across cluster] (Ray deduplicates logs by default. See https://x)")
    assert line.text == "x"


def test_stamps_of_every_kind_compare() -> None:
    texts = (
        "W0409 12:00:01.500000 x.cpp:1] a",
        "2025-04-09T12:00:01.5Z a",
        "[2025-04-09 12:00:01,500] a",
        "04/09/2025 12:00:01.5 a",
    )
    assert {strip_prefixes(text).time for text in texts} == {strip_prefixes(texts[0]).time}


@pytest.mark.parametrize("day", ["0000", "1399", "0231"])
def test_a_day_that_does_not_exist_is_no_time(day: str) -> None:
    assert strip_prefixes(f"W{day} 12:00:01.123456 19 a.py:8] x") == Line("x", level="W")


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"\x1b[31mRuntimeError\x1b[0m: boom\x1b[K", "RuntimeError: boom"),
        (b"\x1b[38;5;196mred\x1b[0m", "red"),
        (rb"\u001b[31mRuntimeError\u001b[0m: boom", "RuntimeError: boom"),
        (rb"\x1b[36mray::f()\x1b[39m", "ray::f()"),
        (b"\x1b]0;title\x07boom", "boom"),
        (b"\x1b]8;;https://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        (b"\x1b(Bplain", "plain"),
        (b"a\x00b\x08c\x7f", "abc"),
        ("\ufeff\u200bmarked".encode(), "marked"),
        (b"broken \xff utf-8", "broken \ufffd utf-8"),
        (b"padded to the width      ", "padded to the width"),
        (b"    indented", "    indented"),
    ],
)
def test_control_sequences_go(raw: bytes, text: str) -> None:
    assert decoded(raw) == text


def test_a_line_is_read_to_a_limit() -> None:
    assert len(decoded(b"x" * 10 * LONGEST_LINE)) == LONGEST_LINE


@pytest.mark.parametrize(
    "raw",
    [
        b'{"log":"%s\\n","stream":"stderr","time":"2025-01-02T03:04:05.678Z"}',
        b'{"message": "%s", "timestamp": "2025-01-02 03:04:05,678", "level": "ERROR"}',
        b'2025-01-02T03:04:05.678Z stdout F {"msg": "%s"}',
        b'{"text": "2025-01-02 03:04:05.678 %s", "record": {"extra": {}}}',
    ],
)
def test_a_line_of_json_is_its_message(raw: bytes) -> None:
    (line,) = read_lines(raw % ERROR.encode())
    assert (line.text, stamp(line.time or 0)) == (ERROR, "01-02 03:04:05.678")


def test_a_line_of_json_tells_its_rank_and_all_lines_of_its_message() -> None:
    lines = read_lines(
        b'{"rank": 7, "message": "Traceback (most recent call last):\\n  File \\"a.py\\", line 1\\n[rank7]: KeyError"}'
    )
    assert [(line.text, line.rank) for line in lines] == [
        ("Traceback (most recent call last):", 7),
        ('  File "a.py", line 1', 7),
        ("KeyError", 7),
    ]


STACK = 'Traceback (most recent call last):\n  File "a.py", line 1, in f\nKeyError: 1'


@pytest.mark.parametrize(
    "fields",
    [
        {"exc_info": STACK},  # python-json-logger
        {"exception": STACK},  # structlog
        {"error": {"stack_trace": STACK}},  # ECS
    ],
)
def test_a_line_of_json_tells_the_traceback_behind_its_message(fields: dict[str, object]) -> None:
    lines = read_lines(json.dumps({"msg": "failed", **fields, "rank": 2}).encode())
    assert [(line.text, line.rank) for line in lines] == [("failed", 2), *((text, 2) for text in STACK.split("\n"))]


def test_a_traceback_that_is_the_message_stands_once() -> None:
    lines = read_lines(b'{"msg": "Traceback (most recent call last):\\nKeyError", "exc": {"of": 1}}')
    assert [line.text for line in lines] == ["Traceback (most recent call last):", "KeyError"]


@pytest.mark.parametrize("raw", [b'{"loss": 1.5}', b"{'loss': 1.5}", b"{", b'{"log": 5}', b'{"log":"cut'])
def test_other_braces_stay_as_they_are(raw: bytes) -> None:
    assert read_lines(raw) == [Line(raw.decode())]


def test_a_traceback_escaped_into_one_line_is_many() -> None:
    lines = read_lines(
        b"[rank1]: {'error': 'Traceback (most recent call last):\\n  File \\\"a.py\\\", line 1, in f\\nKeyError: \\'x\\''}"
    )
    assert [(line.text, line.rank) for line in lines] == [
        ("{'error': 'Traceback (most recent call last):", 1),
        ('  File "a.py", line 1, in f', 1),
        ("KeyError: 'x''}", 1),
    ]


HOSTILE = {
    "a rank of many digits": b"[rank" + b"9" * 20000 + b"]: x",
    "deep json": b'{"a":' * 6000,
    "one long word": b"a1" * 16000,
    "one long word with dashes": b"a-1" * 10000,
    "bars": b"|" * 30000,
    "bars without an end": b" 5%|" * 8000,
    "quotes": b"> " * 15000 + b"\x01",
    "parentheses": b"(" * 30000,
    "brackets": b"[a." * 10000,
    "stamps": b"2025-01-02 03:04:05 " * 1500,
    "escapes": b"\x1b[" * 15000,
    "numbers": b"1" * 32000,
    "hosts": b"a:" * 15000,
    "json of one long number": b'{"a":' + b"9" * 30000 + b"}",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_no_line_takes_long(kind: str) -> None:
    started = time.process_time()
    read_lines(HOSTILE[kind])
    assert time.process_time() - started < 1  # what backtracks takes minutes


@given(st.binary(max_size=400))
def test_no_bytes_make_it_raise(raw: bytes) -> None:
    lines = read_lines(raw.replace(b"\n", b""))
    assert lines
    assert not any("\x1b" in line.text or "\n" in line.text for line in lines)


STACKS = st.lists(st.sampled_from([(prefix, rank) for prefix, rank, _, _ in PREFIXES if "%" not in prefix]), max_size=3)


@given(STACKS, st.sampled_from(["", "\x1b[31m", "\x1b[1;35m", "\\u001b[33m"]))
def test_no_stack_of_prefixes_and_colours_loses_the_error_or_its_rank(
    stack: list[tuple[str, int | None]], colour: str
) -> None:
    raw = colour + "".join(colour + prefix for prefix, _ in stack) + colour + ERROR
    (line,) = read_lines(raw.encode())
    assert line.text == ERROR
    ranks = {rank for _, rank in stack}
    assert line.rank in ranks or (line.rank is None and ranks <= {None})


@pytest.mark.parametrize(
    ("log", "labelled"),
    [
        (b"0: one\n1: two\n0: three\n", True),
        (b"pulling\n 98: one\r\n 99: two\r\n100: three\r\n", True),
        (
            b"[2026-11-24T04:39:59Z] 120: one\n[2026-11-24T04:39:59Z] 121: two\n[2026-11-24T04:40:00Z] 120: three\n",
            True,
        ),
        (b"404: Not Found\n", False),
        (b"404: Not Found\nagain\n404: Not Found\nagain\n500: Internal Server Error\n", False),
        (b"404: Not Found\n404: Not Found\n404: Not Found\n404: Not Found\n", False),
        (b"", False),
    ],
)
def test_labels_of_tasks_stand_on_several_lines_in_a_row(log: bytes, labelled: bool) -> None:
    assert has_labels(log) is labelled


def test_a_large_number_is_a_rank_only_among_such_labels() -> None:
    assert read_lines(b"404: Not Found", lambda: False) == [Line("404: Not Found")]
    assert (read_lines(b"404: Not Found", lambda: True)[0].text, read_lines(b"7: x", lambda: False)[0].rank) == (
        "Not Found",
        7,
    )
