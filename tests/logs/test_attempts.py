"""Several attempts in one log: where each starts, and which of them a failure belongs to."""

from collections.abc import Callable

import pytest

from doctor.finding import Severity
from doctor.logs.attempts import MOST, Attempts, attempts
from doctor.logs.match import LogResult
from doctor.logs.survival import EARLIER

Find = Callable[..., LogResult]

ERROR = "RuntimeError: Expected to mark a variable ready only once."
START = "2026-11-24 04:{minute}:00,000 INFO Loading the question set\n"


def log(*minutes: str, ends: str = "one\ntwo\n") -> str:
    return "".join(START.format(minute=minute) + ends for minute in minutes)


def starts(text: str) -> tuple[int, ...]:
    return attempts(text.encode()).starts


def test_the_opening_line_behind_a_pause_starts_an_attempt() -> None:
    assert starts(log("10", "11", "12")) == (1, 4, 7)


def test_the_end_of_the_last_line_is_no_further_line() -> None:
    text = "Loading the question set\nReading shard 1 of the corpus\n" * 3
    assert attempts(text.encode()) == Attempts((1, 3, 5), 6)
    assert not attempts(text.encode()).passed(6)


def test_a_failure_that_comes_again_opens_nothing() -> None:
    assert starts("run.sh: line 35: wget: command not found\n" * 10) == (1,)


def test_a_clock_that_goes_back_is_a_pause() -> None:
    assert starts(log("12", "10")) == (1, 4)


def test_without_a_pause_the_second_line_must_come_again_too() -> None:
    opening = "Loading the question set\n"
    assert starts(f"{opening}Reading shard 1 of the corpus\nx\n" * 2) == (1, 4)
    assert starts(f"{opening}Reading shard 1 of the corpus\n{opening}Another thing\n") == (1,)
    assert starts(log("10", "10")) == (1,)


HEADING = "{clock}Start training\n" + "".join(f"reading the file {n} of config {{n}}\n" for n in "abcde")


@pytest.mark.parametrize(
    ("clock", "begun"), [("2026-11-24 04:{m}:00 ", (1, 27)), ("", (1, 27)), ("2026-11-24 04:00:{m} ", (1,))]
)
def test_a_whole_head_that_comes_again_late_needs_no_pause(clock: str, begun: tuple[int, ...]) -> None:
    stamps = [clock.format(m=m) for m in (10, 20)]
    runs = [HEADING.format(clock=stamp, n=n) + f"{stamps[1]}acc 0.{n}\n" * 20 for n, stamp in enumerate(stamps, 2)]
    assert starts("".join(runs)) == begun
    assert starts("".join(runs).replace("config 3", "another")) == (1,)


@pytest.mark.parametrize("word", ["torchrun train.py", "[rank1]: hello", "multiprocessing/spawn.py"])
def test_processes_that_begin_alike_are_no_attempts(word: str) -> None:
    assert starts(f"Loading the question set\nReading shards\n{word}\n" * 2) == (1,)


@pytest.mark.parametrize(
    "opening", ["UserWarning: something old", "10:00 12:30", " 10%|# | 1/10 [00:01<00:09, 1.0it/s]", f"{ERROR}"]
)
def test_what_may_come_at_any_time_opens_nothing(opening: str) -> None:
    assert starts(f"{opening}\n12\n{opening}\n12\n") == (1,)


def test_numbers_in_the_opening_may_differ() -> None:
    text = "".join(f"2026-11-24 04:{m}:00 | INFO | __main__:<module>:11{m} - run the training\nx\n" for m in (10, 20))
    assert starts(text) == (1, 3)


def test_where_processes_say_the_same_at_once_their_launcher_may_have_started_them_again() -> None:
    ranks = "".join(START.format(minute=minute) * 2 + "one\n" for minute in (10, 20))
    assert starts(ranks + "torchrun\n") == (1,)
    assert starts(log("10", "20", "30") + "torchrun\n") == (1, 4, 7)


def test_a_log_that_begins_with_a_failure_has_no_opening() -> None:
    assert starts(f"ERROR no template for a row\nwords of the row\n{START.format(minute=10)}x\n" * 2) == (1,)


def test_the_frames_of_a_traceback_open_nothing() -> None:
    traceback = 'Traceback (most recent call last):\n  File "train.py", line 1, in main\n    train(model, data)\nE\n'
    assert starts(traceback * 2) == (1,)


def test_a_line_that_comes_all_the_time_opens_nothing() -> None:
    assert starts(log(*["10", "11"] * MOST)) == (1,)


def test_an_attempt_that_is_longer_got_past_a_line() -> None:
    two = Attempts((1, 11), 15)
    assert two.passed(4)
    assert not two.passed(6)
    assert not two.passed(12)


def test_the_last_attempt_that_fails_is_the_one_that_counts(find: Find) -> None:
    result = find(log("10", ends=f"{ERROR}\n") + log("20", ends="KeyError: 'text'\n"))
    severities = {finding.id: (finding.severity, finding.cause.endswith(EARLIER)) for finding in result.findings}
    assert [one for one in severities.values() if one[0] is Severity.ERROR] == [(Severity.ERROR, False)]
    assert (Severity.NOTE, True) in severities.values()


def test_what_ends_every_attempt_ended_the_last_one(find: Find) -> None:
    (finding,) = find(log("10", "20", ends=f"one\n{ERROR}\n")).findings
    assert (finding.severity, finding.place.first) == (Severity.ERROR, 6)


def test_an_attempt_that_got_no_further_excuses_nothing(find: Find) -> None:
    failed = log("10", ends=f"one\ntwo\nthree\n{ERROR}\n")
    (finding,) = find(failed + log("20", ends="one\n")).findings
    assert finding.severity is Severity.ERROR
    (finding,) = find(failed + log("20", ends="one\ntwo\nthree\nfour\n")).findings
    assert (finding.severity, finding.cause.endswith(EARLIER)) == (Severity.NOTE, True)


def test_counted_metrics_of_two_attempts_are_two_stages(find: Find) -> None:
    (points,) = find(log("10", "20", ends="loss: 2.5\nloss: 2.4\n")).points
    assert points.stage.tolist() == [False, False, True, False]
    (points,) = find(log("10", "20", ends="step 1, loss: 2.5\nstep 2, loss: 2.4\n")).points
    assert not points.stage.any()
