"""Tracebacks of every shape that programs print: each becomes one value, whatever stands between its lines."""

import json
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doctor.logs.prefixes import Line, read_lines
from doctor.logs.tracebacks import (
    HEADER,
    MOST_APART,
    MOST_LINES,
    MOST_MESSAGE_LINES,
    Traceback,
    ignores,
    read_traceback,
)


def read(text: str, prefix: str = "") -> Traceback | None:
    """The traceback that starts with the first line of a text in which its header stands."""
    raw = [f"{prefix}{line}".encode() for line in text.strip("\n").split("\n")]
    first = next(n for n, line in enumerate(raw) if HEADER.encode() in line)
    lines = [(n + 1, line) for n in range(first, len(raw)) for line in read_lines(raw[n])]
    return read_traceback(iter(lines[next(n for n, (_, line) in enumerate(lines) if HEADER in line.text) :]))


def chain(text: str, prefix: str = "") -> list[str]:
    """The exceptions of a traceback, the first that was raised first."""
    found = read(text, prefix)
    assert found is not None
    return [raised.text for raised in found.chain]


LIBRARY = "~/lib/python3.11/site-packages/trl/trainer/sft_trainer.py"
PLAIN_FRAMES = [
    "/srv/run/train.py:38 in <module>: main()",
    '/srv/run/train.py:19 in load: return torch.full((4, 8), float(sample["label"]))',
]


def frames(text: str) -> list[list[str]]:
    found = read(text)
    assert found is not None
    return [[str(frame) for frame in raised.frames] for raised in found.chain]


# Name of a shape to its text and the exceptions in it.
SHAPES = {
    name: (shape["text"], shape["exceptions"])
    for name, shape in tomllib.loads((Path(__file__).parent / "traceback_shapes.toml").read_text()).items()
}
PLAIN, CHAINED, LOADER, MESSAGE = (
    SHAPES[name][0] for name in ("plain", "chained", "loader", "message of several lines")
)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_exceptions_of_every_shape(shape: str) -> None:
    text, exceptions = SHAPES[shape]
    assert chain(text) == exceptions


@pytest.mark.parametrize(
    "prefix", ["[rank3]: ", "[default1]:[rank3]: ", "12: ", "> ", "2025-01-02T03:04:05.678Z stderr F ", "worker-1  | "]
)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_same_behind_prefixes(shape: str, prefix: str) -> None:
    text, exceptions = SHAPES[shape]
    assert chain(text, prefix) == exceptions


@pytest.mark.parametrize("shape", ["plain", "chained", "loader", "group", "syntax", "repeated"])
def test_the_same_with_an_empty_line_between_every_two(shape: str) -> None:
    text, exceptions = SHAPES[shape]
    assert chain(text.strip().replace("\n", "\n\n")) == exceptions


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ("plain", [PLAIN_FRAMES]),
        (
            "rich",
            [
                ["/srv/run/r.py:6 in g: try: f(1)", '/srv/run/r.py:4 in f: return {"a": n}["text"]'],
                ["/srv/run/r.py:8 in <module>: g()"],
            ],
        ),
        ("rich handler", [['/srv/run/rh.py:4 in <module>: try: {"a":1}["text"]']]),
        (
            "ipython",
            [["In[3]:2 in : 1 def f():", f"{LIBRARY}:123 in SFTTrainer.train: 121     return x"]],
        ),
        ("syntax", [['/srv/run/a.py:20 in <module>: exec(compile("foo(", "bad.py", "exec"))', "bad.py:1 in : foo("]]),
        ("indentation lost", [PLAIN_FRAMES]),
    ],
)
def test_frames_have_their_place_and_source(shape: str, expected: list[list[str]]) -> None:
    assert frames(SHAPES[shape][0]) == expected


def test_lines_are_those_of_the_traceback() -> None:
    found = read("noise\n" + CHAINED.strip() + "\nstep 5")
    assert found is not None
    assert (min(found.lines), max(found.lines)) == (2, 24)
    assert [raised.line for raised in found.chain] == [9, 17, 24]


@pytest.mark.parametrize(
    "line",
    [
        "socket.timeout: timed out",
        "struct.error: unpack requires a buffer of 4 bytes",
        "ValueError",
        "ValueError:",
        "KeyboardInterrupt",
        "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
        "torch.OutOfMemoryError: CUDA out of memory",
        "numpy._core._exceptions._ArrayMemoryError: Unable to allocate 122. GiB",
        "peft.utils.NoMatchingPeftModuleError: x",
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for AxolotlInputConfig",
    ],
)
def test_exceptions_of_every_spelling(line: str) -> None:
    assert chain(PLAIN.replace("KeyError: 'label'", line)) == [line]


def test_ray_puts_its_own_line_before_the_remote_frames() -> None:
    text = """
Traceback (most recent call last):
  File "/srv/run/driver.py", line 9, in <module>
    ray.get(f.remote())
ray.exceptions.RayTaskError(ValueError): ray::f() (pid=7, ip=10.0.0.1)
  File "/srv/run/driver.py", line 5, in f
    raise ValueError("bad row")
ValueError: bad row
"""
    assert chain(text) == ["ValueError: bad row"]
    assert frames(text) == [
        [
            "/srv/run/driver.py:9 in <module>: ray.get(f.remote())",
            '/srv/run/driver.py:5 in f: raise ValueError("bad row")',
        ]
    ]


@pytest.mark.parametrize(
    "behind",
    [
        "{'loss': 1.5, 'epoch': 1}",
        "[2025-01-02 03:04:05,678] [INFO] [axolotl.train] [PID:77] done",
        "W0409 12:00:01.123456 19 torch/distributed/elastic/api.py:1028] Sending process 23 closing signal SIGTERM",
        "ERROR conda.cli.main_run:execute(49): failed",
        " 50%|█████     | 2/4 [00:00<00:00]",
        "============================================================",
        "srun: error: node1: task 0: Exited with exit code 1",
        "```",
        "step 12 loss 3.1",
        "step     6/4000  loss 5.6058",
        "=== 2026-11-24 05:29:33 attempt 2 on gpu-node-03 ===",
        "run.sh: line 1:    29 Killed                  python train.py",
        "Terminated",
        "Exception in thread NetStatThr:",
        "*****************************************",
    ],
)
def test_a_message_ends_where_something_else_starts(behind: str) -> None:
    assert chain(PLAIN.strip() + "\n" + behind + "\n" + "more of it") == ["KeyError: 'label'"]


def test_a_logger_ends_a_message_where_all_lines_have_a_stamp() -> None:
    stamp = "2025-01-02T03:04:05.678Z stderr F "
    text = "\n".join(
        stamp + line for line in f"{MESSAGE.strip()}\n[ERROR] rank3 reader: trying the mirror\nmore".split("\n")
    )
    assert chain(text) == SHAPES["message of several lines"][1]


def test_a_message_ends_where_its_stream_goes_silent_for_long() -> None:
    others = "\n".join(f"[rank1]: step {n}" for n in range(MOST_APART))
    lines = "\n".join(f"[rank0]: {line}" for line in PLAIN.strip().replace("KeyError", "ValueError").split("\n"))
    assert chain(f"{lines}\n[rank0]: near\n{others}\n[rank0]: far") == ["ValueError: 'label'\nnear"]


def test_what_follows_an_error_of_one_line_is_none_of_it() -> None:
    assert chain(PLAIN.strip() + "\nRunning part 1...") == ["KeyError: 'label'"]


def test_an_empty_line_ends_a_message() -> None:
    assert chain(MESSAGE.strip() + "\n\nand then text") == SHAPES["message of several lines"][1]


def test_two_tracebacks_of_one_stream_that_are_not_chained_are_two() -> None:
    assert chain(PLAIN.strip() + "\n" + PLAIN.strip().replace("label", "text")) == ["KeyError: 'label'"]


def interleaved(*texts: str) -> str:
    """The lines of several ranks in turn, as a launcher prints them that tees."""
    streams = [[f"[rank{rank}]: {line}" for line in text.strip("\n").split("\n")] for rank, text in enumerate(texts)]
    longest = max(map(len, streams))
    return "\n".join(stream[n] for n in range(longest) for stream in streams if n < len(stream))


def test_ranks_that_interleave_line_by_line_are_told_apart() -> None:
    lines = [
        (n, line)
        for n, raw in enumerate(interleaved(CHAINED, PLAIN, LOADER).encode().split(b"\n"), 1)
        for line in read_lines(raw)
    ]
    for rank, shape in ((0, "chained"), (1, "plain"), (2, "loader")):
        start = next(n for n, (_, line) in enumerate(lines) if line.rank == rank)
        found = read_traceback(iter(lines[start:]))
        assert found is not None
        assert [raised.text for raised in found.chain] == SHAPES[shape][1]
        assert {dict(lines)[number].rank for number in found.lines if dict(lines)[number].text} == {rank}


def test_spawn_quotes_the_traceback_of_its_child() -> None:
    spawn = PLAIN.replace("KeyError: 'label'", "torch.multiprocessing.spawn.ProcessRaisedException: ")
    words = "-- Process 1 terminated with the following error:"
    assert chain(f"{spawn.strip()}\n\n{words}\n{PLAIN.strip()}\n\nstep 3") == [
        "KeyError: 'label'",
        f"torch.multiprocessing.spawn.ProcessRaisedException:\n{words}",
    ]


def test_a_logger_prefixes_the_header_only() -> None:
    header = "[2025-01-02 03:04:05,678] [ERROR] [axolotl.train] [PID:77] [RANK:1] "
    assert chain(header + CHAINED.strip()) == SHAPES["chained"][1]
    assert chain(header + MESSAGE.strip()) == SHAPES["message of several lines"][1]


def test_colours_of_python_3_13() -> None:
    text = (
        "Traceback (most recent call last):\n"
        '  File \x1b[35m"/srv/run/a.py"\x1b[0m, line \x1b[35m3\x1b[0m, in \x1b[35m<module>\x1b[0m\n'
        '    \x1b[31m{"a": 1}\x1b[0m\x1b[1;31m["text"]\x1b[0m\n'
        "    \x1b[31m~~~~~~~~\x1b[0m\x1b[1;31m^^^^^^^^\x1b[0m\n"
        "\x1b[1;35mKeyError\x1b[0m: \x1b[35m'text'\x1b[0m"
    )
    assert chain(text) == ["KeyError: 'text'"]
    assert frames(text) == [['/srv/run/a.py:3 in <module>: {"a": 1}["text"]']]


def test_a_traceback_escaped_into_one_line() -> None:
    escaped = PLAIN.strip().replace("\n", "\\n")
    assert chain(f"worker died: {escaped}") == ["KeyError: 'label'"]


def test_a_traceback_in_one_line_of_json_ends_with_it() -> None:
    row = json.dumps({"ts": "2025-01-02T03:04:05Z", "msg": "row skipped", "stack": PLAIN.strip()})
    assert chain(row + '\n{"ts": "2025-01-02T03:04:06Z", "msg": "on we go"}') == ["KeyError: 'label'"]


@pytest.mark.parametrize(("lines", "known"), [(2, 1), (3, 1), (4, 2), (5, 2), (6, 2)])
def test_of_a_traceback_that_was_cut_before_its_exception_the_frames_are_known(lines: int, known: int) -> None:
    found = read("\n".join(PLAIN.strip().split("\n")[:lines]))
    assert found is not None
    (raised,) = found.chain
    assert (raised.type, raised.text, raised.line, len(raised.frames)) == ("", "", lines, known)
    assert found.lines == frozenset(range(1, lines + 1))


def test_a_rank_that_was_cut_is_one_while_others_print_on() -> None:
    cut = "\n".join(f"[rank0]: {line}" for line in PLAIN.strip().split("\n")[:4])
    found = read(f"{cut}\n[rank1]: step 3\nW1124 05:24:52.565000 19 torch/distributed/api.py:1028] Sending SIGTERM")
    assert found is not None
    assert ([raised.type for raised in found.chain], found.lines) == ([""], frozenset(range(1, 5)))


def test_frames_behind_which_the_same_stream_goes_on_are_no_cut_traceback() -> None:
    assert read("\n".join(PLAIN.strip().split("\n")[:4]) + "\nstep 3\nstep 4") is None


@pytest.mark.parametrize("shape", ["rich", "rich handler", "ipython"])
def test_a_box_without_an_exception_behind_which_others_print_is_no_cut_traceback(shape: str) -> None:
    lines = SHAPES[shape][0].strip().split("\n")
    start = next(n for n, line in enumerate(lines) if HEADER in line)
    assert read("\n".join([*lines[start : start + 4], "all is well", "and goes on"])) is None


def test_what_follows_the_words_of_spawn_without_a_traceback_is_not_taken() -> None:
    spawn = PLAIN.replace("KeyError: 'label'", "torch.multiprocessing.spawn.ProcessRaisedException: ")
    found = read(f"{spawn.strip()}\n\n-- Process 1 terminated with the following error:\nstep 3\nstep 4")
    assert found is not None
    assert max(found.lines) == 9


def test_a_chain_that_was_cut_keeps_what_it_has() -> None:
    assert chain("\n".join(CHAINED.strip().split("\n")[:-6])) == SHAPES["chained"][1][:2]


@pytest.mark.parametrize(
    "text",
    [
        "the log says Traceback (most recent call last): and then nothing",
        "Traceback (most recent call last):\nstep 1 loss 2.0\nKeyError: not of this traceback",
        "Traceback (most recent call last):\nNothing",
        "Traceback (most recent call last):",
    ],
)
def test_text_that_mentions_a_traceback_is_none(text: str) -> None:
    assert read(text) is None


def test_a_message_is_read_to_a_limit() -> None:
    found = read(PLAIN.strip().replace("KeyError", "ValueError") + "\nmore" * 5000)
    assert found is not None
    assert found.chain[0].text.count("\n") == MOST_MESSAGE_LINES - 1


def test_a_header_without_end_is_read_to_a_limit() -> None:
    def endless():
        yield 1, Line(HEADER + ":")
        yield 2, Line('  File "a.py", line 1, in f')
        for n in range(MOST_LINES + 100):
            assert n <= MOST_LINES
            yield n + 3, Line("    x")

    assert read_traceback(endless()) is None


PIECES = st.sampled_from([line for text, _ in SHAPES.values() for line in text.strip("\n").split("\n")])


@given(st.lists(PIECES | st.text(max_size=30).map(lambda text: text.replace("\n", " ")), max_size=40))
def test_no_lines_make_it_raise(lines: list[str]) -> None:
    found = read_traceback(
        iter([(1, Line("Traceback (most recent call last):")), *((n, Line(line)) for n, line in enumerate(lines, 2))])
    )
    assert found is None or (found.chain and all(raised.line in found.lines for raised in found.chain))


def test_an_actor_that_died_in_its_constructor_quotes_the_exception() -> None:
    died = "ray.exceptions.ActorDiedError: The actor died because of an error raised in its creation task, "
    text = PLAIN.replace("KeyError: 'label'", f"{died}ray::Worker.__init__() (pid=52, ip=192.0.2.2)\n") + (
        '\n  File "/srv/run/train.py", line 6, in __init__\n    self.data = open(path)\nFileNotFoundError: shards/1'
    )
    assert chain(text) == ["FileNotFoundError: shards/1"]


def test_the_summary_of_torchrun_quotes_a_traceback_with_an_indent() -> None:
    lines = PLAIN.strip("\n").split("\n")
    text = "\n".join(["  traceback : " + lines[0], *(f"  {line}" for line in lines[1:]), "  ", "=" * 60])
    assert chain(text) == ["KeyError: 'label'"]


def test_a_question_may_stand_in_front_of_the_header() -> None:
    text = PLAIN.strip("\n").replace("\n", "\n[rank2]: ")
    assert chain(f"overwrite it? [y/N] [rank2]: {text}") == ["KeyError: 'label'"]


def test_the_summary_of_a_tracker_is_no_part_of_a_message() -> None:
    text = PLAIN.strip("\n") + "\nwandb: \nwandb: Run history:\nwandb:  train/loss ##..\n"
    assert chain(text) == ["KeyError: 'label'"]


@pytest.mark.parametrize(("lines", "found"), [(3, ["KeyError: 'label'"]), (4, [])])
def test_few_lines_of_others_may_stand_before_the_first_frame(lines: int, found: list[str]) -> None:
    header, _, rest = PLAIN.strip("\n").partition("\n")
    text = "\n".join([header, *["local rank 0: ready"] * lines, rest])
    traceback = read(text)
    assert [one.text for one in (traceback.chain if traceback else ())] == found


def test_the_thread_that_reads_a_child_ends_nothing() -> None:
    assert ignores("Exception in thread Thread-2 (_readerthread):")
    assert not ignores("Exception in thread Thread-2 (train):")
    assert ignores("Exception in thread Thread-2 (train):", done=True)
    assert not ignores("what a thread raised:", done=True)
