"""How long a log was silent before an interrupt, and when nobody can tell."""

import pytest

from doctor.logs.silence import silence_before

START = "2025-03-02 08:00:00,000 INFO loading\n2025-03-02 08:00:20,000 INFO starting\n"
STOP = "2025-03-02 08:{minute}:25,000 WARNING Received 2 death signal, shutting down workers\n"
TRACEBACK = 'Traceback (most recent call last):\n  File "/srv/run/train.py", line 88, in main\nKeyboardInterrupt\n'


def seconds(before: str, behind: str) -> float | None:
    found = silence_before((before + behind).encode(), before.count("\n") + 1)
    return None if found is None else found.seconds


@pytest.mark.parametrize(
    "between",
    [
        "",
        "^C\n\n",
        "  0%|          | 0/412 [00:00<?, ?it/s]\n",
        "/srv/a.py:12: UserWarning: slow tokenizer\n",
        "\r\nwaiting for all ranks\r\n",
    ],
)
def test_what_shows_no_progress_leaves_a_log_silent(between: str) -> None:
    assert seconds(START + between, STOP.format(minute=41)) == 2465.0
    assert seconds(START + between, TRACEBACK + STOP.format(minute=41)) == 2465.0


@pytest.mark.parametrize(
    "between",
    [
        "step 12 loss 2.1\n",
        "{'loss': 1.2, 'epoch': 0.1}\n",
        "  0%|          | 0/412 [00:00<?, ?it/s]\r  1%|          | 4/412 [00:40<1:08:00, 10.1s/it]\n",
    ],
)
def test_progress_without_a_time_is_no_silence(between: str) -> None:
    assert seconds(START + between, STOP.format(minute=41)) is None


def test_the_silence_must_be_longer_than_those_before() -> None:
    before = "2025-03-02 07:45:00,000 INFO epoch 1\n2025-03-02 08:00:00,000 INFO epoch 2\n"
    assert seconds(before, STOP.format(minute=41)) is None
    assert seconds(before.replace("07:45", "07:50"), STOP.format(minute=41)) == 2485.0


def test_loggers_of_different_time_zones_are_no_silence() -> None:
    assert seconds(START, STOP.format(minute=30)) is None


def test_what_is_stamped_behind_an_interrupt_may_be_another_run() -> None:
    assert seconds(START, TRACEBACK + "2025-03-02 09:47:00,000 INFO loading\n") is None
    assert seconds("", TRACEBACK) is None


def test_a_log_that_was_not_kept_tells_nothing() -> None:
    assert silence_before(b"", 4_000_000) is None
