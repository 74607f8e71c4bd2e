"""Confirmation: a record holds what a signature asks for, as a statement, in time."""

import time

import pytest

from doctor.logs.confirm import PATIENCE, Confirmed, confirm
from doctor.logs.records import Frame, Raised, Record
from doctor.signature import Text


def line(text: str) -> Record:
    return Record("run.log", 7, 7, text, None, None, None)


def traceback(*texts: str, frames: tuple[Frame, ...] = ()) -> Record:
    chain = tuple(Raised(text.partition(":")[0], text, 10 * n, frames) for n, text in enumerate(texts, 1))
    return Record("run.log", 1, 99, "\n".join(texts), None, None, None, chain)


def test_a_line_matches_by_any_pattern_and_captures() -> None:
    text = Text(("no such thing", r"variable (?P<what>\w+)(?P<none> x)?"))
    assert confirm(text, line("mark a variable ready")) == Confirmed(0, 7, "mark a variable ready", {"what": "ready"})


def test_none_of_its_patterns_may_stand_in_the_record() -> None:
    text = Text(("out of memory",), none=("host memory",))
    assert confirm(text, line("out of memory")) is not None
    assert confirm(text, line("out of host memory: out of memory")) is None
    assert confirm(text, traceback("OSError: out of memory", "ValueError: it was host memory")) is None


def test_a_traceback_matches_at_a_place_of_its_chain() -> None:
    record = traceback("KeyError: 'text'", "ValueError: bad row 7")
    assert confirm(Text((r"bad row (?P<row>\d+)",)), record) == Confirmed(1, 20, "ValueError: bad row 7", {"row": "7"})
    assert confirm(Text(("'text'",)), record) == Confirmed(0, 10, "KeyError: 'text'", {})


def test_the_package_is_where_an_attribute_was_asked_for() -> None:
    own = Frame("/srv/run/utils.py", 41, "sample")
    asked = Frame("/opt/venv/lib/python3.11/site-packages/torch/nn/modules/module.py", 1964, "__getattr__")
    for frames, package in (((own, asked), "your own code"), ((asked,), "torch"), ((asked, own), "your own code")):
        found = confirm(Text(("no attribute",)), traceback("AttributeError: no attribute", frames=frames))
        assert found is not None
        assert found.captures["package"] == package


def test_a_frame_can_be_asked_for() -> None:
    text = Text(("KeyError",), frames=(r"trl/trainer/.* in _prepare",))
    wanted, other = Frame("/site-packages/trl/trainer/sft.py", 5, "_prepare"), Frame("/srv/train.py", 5, "main")
    assert confirm(text, traceback("KeyError: 'x'", frames=(other, wanted))) is not None
    assert confirm(text, traceback("KeyError: 'x'", frames=(other,))) is None
    assert confirm(text, line("KeyError: 'x' at trl/trainer/sft.py in _prepare")) is None


@pytest.mark.parametrize(
    "words",
    [
        "The crash might be caused by CUDA out of memory",
        '    raise RuntimeError("CUDA out of memory")',
        "{'prompt': 'CUDA out of memory'}",
        "tip: with CUDA out of memory, lower the batch size",
    ],
)
def test_advice_source_and_samples_do_not_count(words: str) -> None:
    assert confirm(Text(("CUDA out of memory",)), line(words)) is None


def test_advice_behind_the_words_does_not_take_them_back() -> None:
    words = "CUDA out of memory. Consider setting expandable_segments"
    assert confirm(Text(("CUDA out of memory",)), line(words)) is not None


def test_advice_on_another_line_of_a_message_does_not_count() -> None:
    record = traceback(
        "RuntimeError: CUDA error: device-side assert triggered\nFor debugging consider passing CUDA_LAUNCH_BLOCKING=1"
    )
    assert confirm(Text(("device-side assert",)), record) is not None
    assert confirm(Text(("CUDA_LAUNCH_BLOCKING=1",)), record) is None


def test_an_exception_may_look_like_source() -> None:
    assert confirm(Text(("is not allowed",)), traceback('ValueError: x = "a" is not allowed')) is not None


@pytest.mark.parametrize(
    "text", [Text((r"(?:a|a)+(?:a|a)+(?:a|a)+c",)), Text(("aaa",), none=(r"(?:a|a)+(?:a|a)+(?:a|a)+c",))]
)
def test_a_pattern_that_runs_away_is_stopped(text: Text) -> None:
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        confirm(text, line("a" * 5000))
    assert time.monotonic() - started < 20 * PATIENCE


def test_a_frame_can_be_ruled_out() -> None:
    text = Text(("KeyError",), no_frames=(r"in _reader\b",))
    assert confirm(text, traceback("KeyError: 'x'", frames=(Frame("/usr/lib/a.py", 5, "_reader"),))) is None
    assert confirm(text, traceback("KeyError: 'x'", frames=(Frame("/srv/a.py", 5, "main"),))) is not None


@pytest.mark.parametrize(
    ("path", "folder"),
    [
        ("/srv/project/mine/tools/run.py", "mine"),
        ("C:\\work\\mine\\run.py", "mine"),
        ("/srv/project/mine.py", None),
        ("/opt/venv/lib/python3.11/site-packages/mine/run.py", None),
    ],
)
def test_of_a_module_it_is_known_whether_own_code_has_a_folder_of_its_name(path: str, folder: str | None) -> None:
    record = traceback("ModuleNotFoundError: No module named 'mine.data'", frames=(Frame(path, 5, "main"),))
    found = confirm(Text((r"No module named '(?P<module>[\w.]+)",)), record)
    assert found is not None
    assert (found.captures["top"], found.captures.get("folder")) == ("mine", folder)
