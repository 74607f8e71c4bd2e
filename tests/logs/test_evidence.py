"""Which texts of a failure are shown."""

from doctor.logs.evidence import MOST_EVIDENCE, different

LONG = "CUDA out of memory. Tried to allocate 12.28 GiB on device 0"


def test_a_message_that_a_logger_repeats_is_shown_once() -> None:
    raised = f"torch.OutOfMemoryError: {LONG}"
    assert different([raised, f"host-3:0 CRITICAL Uncaught OutOfMemoryError: {LONG}"]) == (raised,)


def test_short_messages_and_other_ones_are_kept() -> None:
    texts = [
        "OSError: x",
        "went on behind an OSError of another kind: x",
        *(f"Error: {one} is not there" for one in ("alpha", "beta")),
    ]
    assert different(texts) == tuple(texts[:MOST_EVIDENCE])


def test_numbers_make_no_difference() -> None:
    assert different(["row 7 is bad", "row 8 is bad"]) == ("row 7 is bad",)
