"""Logs and signatures to findings: the right id, rank, count and severity from whatever real logs do to a line."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doctor.catalog import Catalog, SignatureFile, catalog_of
from doctor.finding import Finding, Lines, Severity
from doctor.logs.block_cuts import Block
from doctor.logs.collectives import LEFT as LEFT_NORMALLY
from doctor.logs.index import compile_index
from doctor.logs.match import MOST_EVIDENCE, LogResult, find_in_blocks, find_in_text

Find = Callable[..., LogResult]

ERROR = "RuntimeError: Expected to mark a variable ready only once."
TRACEBACK = (
    'Traceback (most recent call last):\n  File "/srv/run/train.py", line 38, in main\n    rows["text"]\n{error}'
)
STEP = "{{'loss': {n}.5}}\n"


def ids(result: LogResult) -> list[str]:
    return [finding.id for finding in result.findings]


def only(result: LogResult) -> Finding:
    (finding,) = result.findings
    return finding


def test_a_finding_has_all_that_the_log_tells(find: Find) -> None:
    finding = only(find(f"one\n2026-11-24T04:39:59.5Z node3: [rank2]: {ERROR}\nthree"))
    assert finding.place == Lines("run.log", 2, 2, 2, "node3", 28355999.5)
    assert finding.evidence == (ERROR,)
    assert (finding.count, finding.ranks, finding.captures) == (1, (2,), {"what": "ready"})
    assert (finding.severity, finding.cause, finding.fix) == (Severity.ERROR, "why", "how")


def test_ranks_and_counts_are_over_all_logs(find: Find) -> None:
    finding = only(find({f"rank_{rank}.log": f"{ERROR}\n" * (rank + 1) for rank in range(3)}))
    assert (finding.count, finding.ranks, finding.place.path) == (6, (0, 1, 2), "rank_0.log")


def test_the_first_by_time_stands_for_all(find: Find) -> None:
    logs = {"a.log": f"2026-11-24T04:40:09Z {ERROR}", "b.log": f"2026-11-24T04:40:01Z {ERROR}"}
    assert only(find(logs)).place.path == "b.log"


def test_a_line_without_a_time_stands_behind_the_one_above_it(find: Find) -> None:
    first = f"2026-11-24T04:40:01Z [rank1]: {ERROR}\n"
    assert only(find(f"{first}what(): {ERROR}\n")).place.first == 1
    assert only(find(f"what(): {ERROR}\n{first}")).place.first == 1


def test_what_python_only_warns_of_is_no_error(find: Find) -> None:
    warning = f"/srv/lib/site-packages/torch/x.py:141: UserWarning: {ERROR}\n"
    assert only(find(warning)).severity is Severity.WARNING
    assert only(find(warning + f"{ERROR}\n")).severity is Severity.ERROR
    assert only(find(warning + TRACEBACK.format(error=ERROR))).severity is Severity.ERROR


def test_evidence_differs_in_more_than_numbers(find: Find) -> None:
    lines = [f"{word} {n}: {ERROR}" for word in ("alpha", "beta", "gamma", "delta") for n in range(3)]
    assert only(find("\n".join(lines))).evidence == tuple(f"{word} 0: {ERROR}" for word in ("alpha", "beta", "gamma"))
    assert MOST_EVIDENCE == 3


def test_lines_outside_and_tracebacks_count_apart(find: Find) -> None:
    text = f"KeyError: 'text'\n{TRACEBACK.format(error=chr(75) + 'eyError: ' + chr(39) + 'text' + chr(39))}\n"
    finding = only(find(text))
    assert (finding.count, finding.place.first) == (2, 1)


def test_a_source_line_in_a_traceback_is_no_match(find: Find) -> None:
    text = TRACEBACK.format(error="OSError: disk").replace(
        'rows["text"]', "# Expected to mark a variable ready only once"
    )
    assert ids(find(text)) == ["unknown/exception"]


@pytest.mark.parametrize(
    "text",
    [
        "{header}torch.multiprocessing.spawn.ProcessRaisedException: \n\n-- Process 3 terminated with the following error:\n"
        "{header}KeyError: 'text'\n",
        "{header}torch.multiprocessing.spawn.ProcessExitedException: process 3 terminated with signal SIGKILL\n",
    ],
)
def test_the_rank_that_spawn_names_is_the_one_that_failed(find: Find, text: str) -> None:
    finding = only(find(text.format(header=TRACEBACK.format(error=""))))
    assert (finding.ranks, finding.place.rank) == ((3,), 3)


def test_ranks_interleaved_line_by_line_are_one_record_each(find: Find) -> None:
    text = TRACEBACK.format(error="KeyError: 'text'").split("\n")
    finding = only(find("\n".join(f"[rank{rank}]: {line}" for line in text for rank in range(4))))
    assert (finding.count, finding.ranks) == (4, (0, 1, 2, 3))


# What logs do to a line

COLOURS = st.sampled_from(["", "\x1b[31m", "\x1b[1;35m", "\x1b[0m", "\x1b[38;5;9m", "\\u001b[31m"])
NAMELESS = [
    "> ",
    "2026-11-24T04:39:59.123Z ",
    "2026-11-24 04:39:59,123 ",
    "[INFO|trainer.py:9] >> ",
    "2026-11-24T04:39:59Z stderr F ",
    "worker-1  | ",
    "E1124 04:39:59.123456 19 a/b.py:7] ",
]
RANKED = [
    "[rank3]: ",
    "[default1]:[rank3]: ",
    "[1,3]<stderr>:",
    "3: ",
    "[3] ",
    "node7: [rank3]: ",
    "[2026-11-24 04:39:59,123] [ERROR] [axolotl.train] [PID:7] [RANK:3] ",
]
BARS = [
    "",
    " 50%|█████     | 2/4 [00:00<00:00,  8.11it/s]",
    "\r 50%|█████     | 2/4 [00:00<00:00,  8.11it/s]\r",
    "Train:  75%|#### | 3/4 [00:00<00:00, 8.11s/it, loss=2.1]",
]
BEHIND = ["", "\r\n", "\r 75%|#######   | 3/4 [00:00<00:00]", "\x1b[0m", "   ", " 75%|#######   | 3/4 [00:00<00:00]"]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from(NAMELESS), max_size=2),
    st.sampled_from(RANKED),
    st.sampled_from(BARS),
    st.lists(COLOURS, min_size=5, max_size=5),
    st.sampled_from(BEHIND),
    st.sampled_from(["mark a variable ready only once", ERROR, f"foo {ERROR} bar"]),
)
def test_no_prefixes_bars_and_colours_hide_an_error_or_its_rank(
    find: Find, nameless, ranked, bar, colours, behind, words
) -> None:
    line = (
        colours[0]
        + bar
        + colours[1]
        + "".join(prefix + colours[2] for prefix in nameless)
        + ranked
        + colours[3]
        + words
        + colours[4]
        + behind
    )
    finding = only(find(f"[rank1]: before\n{line}\n[rank2]: after\n"))
    assert (finding.id, finding.ranks, finding.place.first) == ("ddp/ready-twice", (3,), 2)


@pytest.mark.parametrize(
    "line",
    [
        f'{{"log":"{ERROR}\\n","stream":"stderr","time":"2026-11-24T04:39:59Z"}}',
        f'{{"message": "{ERROR}", "level": "ERROR"}}',
        f"what():    what():  {ERROR}",
        f"OutOfMemoryErrorOutOfMemoryError.: : {ERROR}",
        f"{ERROR}{ERROR}",
        f"│ {ERROR} │",
        f"```{ERROR}```",
        f"`{ERROR}`",
        f"** {ERROR} **",
        f"E       {ERROR}",
        ERROR.encode().decode() + "\x00\x00",
        "\ufeff" + ERROR,
    ],
)
def test_other_damage(find: Find, line: str) -> None:
    assert only(find(f"x\n{line}\ny")).place.first == 2


def test_a_whole_log_on_one_line(find: Find) -> None:
    finding = only(find(" ".join(f"step {n} fine" for n in range(5000)) + f" {ERROR} " + "and on " * 5000))
    assert finding.count == 1
    assert ERROR in finding.evidence[0]
    assert len(finding.evidence[0]) < 2000


def test_broken_utf_8_around_the_words(find: Find) -> None:
    assert only(find(b"\xff\xfe\xc3 " + ERROR.encode() + b" \xe2\x82")).id == "ddp/ready-twice"


def test_utf_16_is_read_like_the_rest(tmp_path: Path, small: Catalog, small_index) -> None:
    from doctor.logs.match import find as find_in_sources
    from doctor.logs.source import find_sources

    (tmp_path / "run.log").write_bytes(f"one\r\n{ERROR}\r\n".encode("utf-16"))
    result = find_in_sources(find_sources([str(tmp_path)]), small, small_index, lambda count: None)
    assert (only(result).place.first, result.lines) == (2, 2)


# Advice, source code and samples, as healthy programs print them

HEALTHY = [
    "{'prompt': 'My training stops with RuntimeError: Expected to mark a variable ready only once.', 'completion': 'x'}",
    "prompt: What does 'RuntimeError: Expected to mark a variable ready only once.' mean under DDP?",
    '    raise RuntimeError("Expected to mark a variable ready only once")',
    " - if you see `Expected to mark a variable ready only once`, set static_graph",
    "This might be caused by: Expected to mark a variable ready only once",
]


@pytest.mark.parametrize("line", HEALTHY)
def test_advice_source_and_samples_never_anchor(find: Find, find_all: Find, line: str) -> None:
    for prefix in ("", "[rank0]: ", "2026-11-24T04:39:59Z "):
        assert ids(find(prefix + line)) == []
        assert ids(find_all(prefix + line)) == []


def test_no_error_is_left_of_healthy_logs(fixture_logs: Path, find_all: Find) -> None:
    logs = sorted((fixture_logs / "healthy").rglob("*.log"))
    assert len(logs) >= 10
    found = {
        log.name: [
            finding.id for finding in find_all(log.read_bytes()).findings if finding.severity is not Severity.NOTE
        ]
        for log in logs
    }
    assert found == {log.name: [] for log in logs}


# What training went on behind


def test_an_error_that_training_went_on_behind_is_a_note(find: Find) -> None:
    finding = only(find(f"{ERROR}\n{STEP.format(n=1)}{STEP.format(n=2)}"))
    assert finding.severity is Severity.NOTE
    assert finding.cause == "why Training went on behind it, so it did not end this run."


@pytest.mark.parametrize("behind", ["", STEP.format(n=1), STEP.format(n=1).strip() + " 'loss': 2.5\n"])
def test_one_more_step_is_not_going_on(find: Find, behind: str) -> None:
    assert only(find(f"{ERROR}\n{behind}")).severity is Severity.ERROR


def test_a_text_beside_the_loss_that_came_before_is_printed_by_the_run(find: Find) -> None:
    rows = "".join(f"step {n} loss {n}.5 | {text}\n" for n in (1, 7) for text in ("hello", ERROR, "the end", "bye"))
    last = rows.rstrip().rsplit("\n", 2)[0]
    assert only(find(last)).severity is Severity.NOTE
    assert only(find(f"step 1 loss 1.5 | hello\nstep 2 loss 1.4 | {ERROR}\n")).severity is Severity.ERROR
    assert {one.severity for one in find(f"{last}\n{TRACEBACK.format(error=ERROR)}").findings} == {Severity.ERROR}


def test_a_run_that_says_it_is_done_went_on(find: Find) -> None:
    for done in (
        "Training completed. Do not forget to share your model",
        "[INFO] rank0 train: finished",
        "training done",
        "Sweep complete: 18 trials",
    ):
        assert only(find(f"{ERROR}\n{done}\n")).severity is Severity.NOTE, done


def test_a_rank_that_died_while_others_took_two_more_steps_did_not_survive(find: Find) -> None:
    died = "\n".join(f"[rank1]: {line}" for line in TRACEBACK.format(error="KeyError: 'text'").split("\n"))
    for step in (
        "{{'loss': {n}.5}}\n",
        "[rank0]: step {n} loss 2.5\n",
        "[rank0]: step {n} loss 2.5\n[rank2]: step {n} loss 2.5\n",
    ):
        text = f"{died}\n{step.format(n=1)}{step.format(n=2)}"
        assert only(find(text)).severity is Severity.ERROR
        (data, echo) = find(text + "[rank0]: RuntimeError: Connection closed by peer\n").findings
        assert (data.id, data.severity, echo.id) == ("data/missing-text", Severity.ERROR, "gloo/peer-closed")


def test_a_rank_that_took_two_more_steps_itself_survived(find: Find) -> None:
    caught = "\n".join(f"[default1]:{line}" for line in TRACEBACK.format(error="KeyError: 'text'").split("\n"))
    steps = "".join(f"[default{rank}]:step {n} loss 2.5\n" for n in range(2) for rank in range(2))
    assert only(find(f"{caught}\n{steps}")).severity is Severity.NOTE


def test_a_rank_that_died_and_was_started_again_survived(find: Find) -> None:
    died = "\n".join(f"[rank1]: {line}" for line in TRACEBACK.format(error="KeyError: 'text'").split("\n"))
    assert only(find(f"{died}\n" + "".join(STEP.format(n=n) for n in range(10)))).severity is Severity.NOTE


@pytest.mark.parametrize(
    ("between", "severity"), [("", Severity.ERROR), ("run.sh: second attempt\n", Severity.NOTE)], ids=["late", "retry"]
)
def test_what_torchrun_still_had_to_print_when_it_gave_up_is_no_going_on(
    find: Find, between: str, severity: Severity
) -> None:
    died = "\n".join(f"[default1]:{line}" for line in TRACEBACK.format(error="KeyError: 'text'").split("\n"))
    summary = "Root Cause (first observed failure):\n[0]:\n  rank      : 1 (local_rank: 1)\n" + "=" * 60 + "\n"
    steps = "".join(f"[default1]:{STEP.format(n=n)}" for n in range(10)) + "[default1]:Training completed\n"
    found = {one.id: one.severity for one in find(f"{died}\n{summary}{between}{steps}").findings}
    assert found["data/missing-text"] is severity


def test_what_a_rank_prints_long_after_its_exception_does_not_make_that_last_longer(find: Find) -> None:
    caught = "\n".join(f"1: {line}" for line in TRACEBACK.format(error="KeyError: 'text'").split("\n"))
    steps = "".join(f"0: step {n} loss 2.5\n" for n in range(20))
    assert only(find(f"{caught}\n{steps}1: rank 1: exit\n")).severity is Severity.NOTE


@pytest.mark.parametrize("error", ["KeyError: 'text'", "OSError: disk"])
def test_what_a_log_without_steps_copies_of_a_survived_one_was_survived(error: str, find: Find) -> None:
    caught = TRACEBACK.format(error=error)

    def severities(copy: str) -> list[Severity]:
        logs = {"run.log": f"{caught}\n{STEP.format(n=1)}{STEP.format(n=2)}", "attempt_0/1/stderr.log": copy}
        return [one.severity for one in find(logs).findings if one.severity is not Severity.NOTE]

    assert severities(caught) == []
    assert severities(caught.replace("text", "other").replace("disk", "tape")) == [Severity.ERROR]


def test_an_unknown_exception_that_was_survived_is_none(find: Find) -> None:
    caught = TRACEBACK.format(error="OSError: disk")
    assert ids(find(f"{caught}\n{STEP.format(n=1)}{STEP.format(n=2)}")) == []
    assert ids(find(f"{STEP.format(n=1)}{STEP.format(n=2)}{caught}")) == ["unknown/exception"]


def test_a_run_that_is_done_right_below_an_exception_survived_it(find: Find) -> None:
    caught, done = (
        TRACEBACK.format(error="OSError: disk"),
        "rank 1 leaves\n`Trainer.fit` stopped: `max_epochs=3` reached.\n",
    )
    assert ids(find(f"{caught}\n{done}")) == []
    assert ids(find(f"{done}{caught}\n")) == ["unknown/exception"]


def test_what_a_logger_prints_again_behind_a_step_was_caught_both_times(find: Find) -> None:
    caught = "2025-01-02 03:04:05,678 22 ERROR not copied\n" + TRACEBACK.format(error="OSError: disk") + "\n"
    assert ids(find(f"{caught}{STEP.format(n=1)}{caught}")) == []
    assert ids(find(f"{STEP.format(n=1)}{caught}{caught}")) == ["unknown/exception"]
    raised = caught.partition("\n")[2]
    assert ids(find(f"{raised}{STEP.format(n=1)}{raised}")) == ["unknown/exception"]


def test_the_one_that_was_not_survived_is_shown(find: Find) -> None:
    finding = only(find(f"{ERROR}\n{STEP.format(n=1)}{STEP.format(n=2)}{ERROR}\n"))
    assert (finding.severity, finding.count, finding.place.first) == (Severity.ERROR, 1, 4)


@pytest.mark.parametrize(
    "before",
    [
        "Exception ignored in: <function Tracker.__del__ at 0x7f>",
        "Exception ignored in atexit callback: <f>",
        "[W 2025-01-02 03:04:05,678] Trial 3 failed with parameters: {'width': 6} because of the following error: x",
    ],
)
@pytest.mark.parametrize("error", ["KeyError: 'text'", "OSError: disk"])
def test_what_python_ignores_ended_nothing(before: str, error: str, find: Find) -> None:
    steps, traceback = STEP.format(n=1) + STEP.format(n=2), TRACEBACK.format(error=error)
    assert [one for one in find(f"{steps}{before}\n{traceback}\n").findings if one.severity is Severity.ERROR] == []
    assert only(find(f"{steps}{traceback}\n")).severity is Severity.ERROR


@pytest.mark.parametrize(("logged", "errors"), [("ERROR:2025-01-02 03:04:05,678:", 0), ("", 1)])
def test_what_a_logger_printed_before_and_training_went_on_behind_ends_nothing(
    logged: str, errors: int, find: Find
) -> None:
    caught = logged + TRACEBACK.format(error="OSError: disk") + "\nnext answer\n"
    cut = "".join(caught.splitlines(keepends=True)[:3])
    steps = STEP.format(n=1) + STEP.format(n=2)
    for last in (caught, cut):
        found = find(caught + steps + last).findings
        assert len([one for one in found if one.severity is Severity.ERROR]) == errors


def test_a_thread_that_ends_behind_the_run_costs_nothing(find: Find) -> None:
    thread = "Exception in thread Thread-9:\n" + TRACEBACK.format(error="OSError: disk") + "\n"
    ended = "{'train_runtime': 3.5, 'epoch': 1.0}\nEnd of training.\n"
    assert [one for one in find(ended + thread).findings if one.severity is Severity.ERROR] == []
    assert [one for one in find("started\n" + thread).findings if one.severity is Severity.ERROR] != []


def test_an_echo_between_frames_does_not_explain_the_traceback(find_all: Find) -> None:
    remote = "ray.exceptions.RayTaskError(OSError): \x1b[36mray::work()\x1b[39m (pid=1, ip=10.0.0.1)"
    traceback = TRACEBACK.format(error=f'{remote}\n  File "w.py", line 2, in work\n    g()\nOSError: disk')
    assert set(ids(find_all(traceback.encode()))) == {"unknown/exception", "ray/task-error"}


@pytest.mark.parametrize(
    ("before", "behind", "gone"),
    [
        ("ERROR upload failed (attempt 1 of 5), trying again", "INFO uploaded (attempt 2)", True),
        ("ERROR upload failed (attempt 1 of 15), trying again", "INFO uploaded (attempt 2)", True),
        ("INFO epoch 1", "WARNING could not write it, retrying\nsaved", True),
        ("ERROR upload failed (attempt 5 of 5), not trying again", "uploading the rest", False),
        ("thrown while requesting HEAD x; Retrying in 8s [Retry 5/5].", "wandb: run is at x", False),
        ("INFO epoch 1", "WARNING could not write it, retrying", False),
        ("ERROR upload failed (attempt 1 of 5), trying again", "", False),
        ("ERROR upload failed (attempt 1 of 5), trying again", "srun: error: node3: task 1: Exited", False),
        ("INFO epoch 1", "INFO uploaded (attempt 2)", False),
    ],
)
def test_what_is_tried_again_ended_nothing(before: str, behind: str, gone: bool, find: Find) -> None:
    text = f"{before}\n{TRACEBACK.format(error='OSError: store')}\n{behind}\n"
    assert (ids(find(text)) == []) == gone


@pytest.mark.parametrize(
    ("line", "severity"),
    [
        ("ERROR:pets: skipping a/1.jpg: RuntimeError: mark a variable ready only once", Severity.NOTE),
        ("row 7 dropped because of builtins.RuntimeError: mark a variable ready only once", Severity.ERROR),
        ("dropped row 7: builtins.RuntimeError: mark a variable ready only once", Severity.NOTE),
        ("[worker] RuntimeError('mark a variable ready only once: sample 3'); using zeros", Severity.NOTE),
        ("RuntimeError: mark a variable ready only once, skipping all: ValueError", Severity.ERROR),
        ("RuntimeError: mark a variable ready only once using a list of 3 (of 4)", Severity.ERROR),
    ],
)
def test_a_line_that_says_what_was_skipped_ended_nothing(line: str, severity: Severity, find: Find) -> None:
    assert only(find(f"{line}\n")).severity is severity


def test_a_message_of_several_lines_ends_where_training_is_said_to_be_done(find: Find) -> None:
    text = TRACEBACK.format(error="OSError: disk") + "\n---\n{last}, final loss 0.04\n"
    assert ids(find(text.format(last="training complete"))) == []
    assert ids(find(text.format(last="trained little"))) == ["unknown/exception"]


def test_a_thread_that_died_is_not_survived_where_its_queue_stays_empty(find: Find) -> None:
    thread = "Exception in thread prefetch:\n" + TRACEBACK.format(error="OSError: disk")
    starved = TRACEBACK.format(error="_queue.Empty")
    finding = only(find(f"{thread}\n" + "".join(STEP.format(n=n) for n in range(9)) + starved))
    assert finding.evidence[0] == "OSError: disk"


def test_the_question_in_front_of_a_header_does_not_hide_the_rank(find: Find) -> None:
    text = "overwrite it? [y/N] " + "\n".join(
        f"[rank2]: {line}" for line in TRACEBACK.format(error="OSError: x").split("\n")
    )
    assert only(find(text)).ranks == (2,)


@pytest.mark.parametrize("level, ranks", [("ERROR", (3,)), ("INFO", ())])
def test_a_traceback_behind_a_loggers_error_has_its_rank_and_time(
    level: str, ranks: tuple[int, ...], find: Find
) -> None:
    line = f"2026-11-24 09:10:49,123 {level} [rank3] training stopped"
    finding = only(find(f"{line}\n{TRACEBACK.format(error='OSError: disk')}\n"))
    assert finding.ranks == ranks
    assert (finding.place.time is not None) == bool(ranks)


WAITED = """[rank{rank}]: Traceback (most recent call last):
[rank{rank}]:   File "/srv/run/train.py", line {line}, in <module>
[rank{rank}]:     step()
[rank{rank}]:   File "/opt/venv/lib/python3.11/site-packages/torch/distributed/distributed_c10d.py", line 5, in {operation}
[rank{rank}]:     work.wait()
[rank{rank}]: RuntimeError: [gloo/transport/tcp/unbound_buffer.cc:78] {said}
"""
IN_VAIN, LEFT = "Timed out waiting 20000ms for recv operation to complete", "Connection closed by peer [::1]:1"


def test_ranks_that_wait_in_different_collectives_are_the_root_unless_another_failed(find_all: Find) -> None:
    text = WAITED.format(rank=1, line=32, operation="barrier", said=IN_VAIN)
    text += WAITED.format(rank=0, line=28, operation="all_gather", said=LEFT)
    found = {one.id: one for one in find_all(text).findings}["torch/collective-mismatch"]
    assert (found.ranks, found.place.first, found.place.rank) == ((0, 1), 6, 1)
    assert found.evidence[1] == "rank 1 waited in barrier, called at /srv/run/train.py:32"
    assert "torch/collective-mismatch" not in ids(find_all(text + TRACEBACK.format(error="OSError: disk")))
    assert "torch/collective-mismatch" not in ids(
        find_all(text.replace("all_gather", "barrier").replace("line 28", "line 32"))
    )


def test_a_rank_that_alone_failed_had_more_collectives_than_its_peer(find_all: Find) -> None:
    text = WAITED.format(rank=0, line=28, operation="all_gather", said="Connection closed by peer [127.0.1.1]:9")
    summary = "Failures:\n  <NO_OTHER_FAILURES>\n---\nRoot Cause (first observed failure):\n[0]:\n  rank      : 0 (local_rank: 0)\n"
    found = {one.id: one for one in find_all(text + summary).findings}["torch/collective-mismatch"]
    assert (found.evidence[1], found.ranks) == (LEFT_NORMALLY, (0,))
    assert "torch/collective-mismatch" not in ids(find_all(text + summary.replace("  <NO_OTHER_FAILURES>\n", "")))


WATCHDOG = """[rank{rank}]:[E1124 22:49:{second}.338 ProcessGroupNCCL.cpp:689] [Rank {rank}] Watchdog caught collective operation \
timeout: WorkNCCL(SeqNum={number}, OpType={operation}, NumelIn=4, NumelOut=4, Timeout(ms)=12000) ran for 12044 milliseconds before \
timing out.
[rank{rank}]:[E1124 22:49:{second}.339 ProcessGroupNCCL.cpp:2303] [PG ID 0 PG GUID 0(default_pg) Rank {rank}]  failure detected by \
watchdog at work sequence id: {number} PG status: last enqueued work: {number}, last completed work: 158
"""
CLOSED = """[rank0]:[E1124 22:49:12.644 ProcessGroupNCCL.cpp:612] [Rank 0] Collective WorkNCCL(SeqNum=67, \
OpType=ALLREDUCE, NumelIn=8192, NumelOut=8192, Timeout(ms)=12000) raised the following async exception: \
NCCL error: remote process exited, NCCL version 2.28.9
Last error:
socketProgress: Connection closed by remote peer {peer}<34190>
"""


def test_watchdogs_show_ranks_in_different_collectives(find_all: Find) -> None:
    first = WATCHDOG.format(rank=1, second=15, number=159, operation="ALLREDUCE")
    text = first + WATCHDOG.format(rank=0, second=16, number=159, operation="BROADCAST")
    found = {one.id: one for one in find_all(text).findings}["torch/collective-mismatch"]
    assert (found.ranks, found.place.first, found.place.rank) == ((0, 1), 1, 1)
    assert found.evidence[0] == "rank 0 waited in BROADCAST number 159 of 4 elements"
    assert "torch/collective-mismatch" not in ids(find_all(text + TRACEBACK.format(error="OSError: disk")))
    assert "torch/collective-mismatch" not in ids(find_all(text.replace("BROADCAST", "ALLREDUCE")))


def test_a_rank_that_nccl_left_alone_had_more_collectives_than_its_peer(find_all: Find) -> None:
    summary = "Failures:\n  <NO_OTHER_FAILURES>\n---\nRoot Cause (first observed failure):\n[0]:\n  rank      : 0 (local_rank: 0)\n"
    text = CLOSED.format(peer="localhost") + summary
    found = {one.id: one for one in find_all(text).findings}["torch/collective-mismatch"]
    assert found.evidence == ("rank 0 waited in ALLREDUCE number 67 of 8192 elements", LEFT_NORMALLY)
    for other in (text.replace("localhost", "node2"), text.replace("  <NO_OTHER_FAILURES>\n", "")):
        assert "torch/collective-mismatch" not in ids(find_all(other))


# Causes chosen by facts

AXOLOTL = "[2026-11-24 05:11:17,576] [INFO] [axolotl.cli.config] config:\n{{\n{settings}\n}}\n"
OFFLOADING = '  "activation_offloading": true,\n  "gradient_checkpointing": true'
REENTRANT = '  "gradient_checkpointing": true,\n  "gradient_checkpointing_kwargs": {\n    "use_reentrant": true\n  }'
NEITHER = '  "gradient_checkpointing": false'
TWICE = "[rank0]: " + ERROR


def twice(find_all: Find, log: str) -> Finding:
    (finding,) = [one for one in find_all(log).findings if one.id == "ddp/marked-ready-twice"]
    return finding


def test_ready_twice_with_activation_offloading(find_all: Find) -> None:
    finding = twice(find_all, AXOLOTL.format(settings=OFFLOADING) + TWICE)
    assert "find_unused_parameters" in finding.cause
    assert "ffloading" in finding.cause
    assert "Possible causes" not in finding.cause
    assert "ddp_find_unused_parameters: false" in finding.config


@pytest.mark.parametrize(
    "settings", [AXOLOTL.format(settings=REENTRANT), "gradient_checkpointing_kwargs={'use_reentrant': True},\n"]
)
def test_ready_twice_with_reentrant_checkpointing(find_all: Find, settings: str) -> None:
    finding = twice(find_all, settings + TWICE)
    assert "eentrant" in finding.cause
    assert "Possible causes" not in finding.cause
    assert "use_reentrant: false" in finding.config


def test_ready_twice_with_neither_known_shows_all_causes_as_possible(find_all: Find) -> None:
    finding = twice(find_all, TWICE)
    assert finding.cause.startswith("Possible causes; the input does not decide:\n(1) if ")
    assert "use_reentrant: false" in finding.config
    assert "ddp_find_unused_parameters: false" in finding.config


def test_ready_twice_with_both_known_to_be_off(find_all: Find) -> None:
    finding = twice(find_all, AXOLOTL.format(settings=NEITHER) + TWICE)
    assert "Possible causes" not in finding.cause
    assert "ffloading" not in finding.cause


# Patterns that misbehave


def test_a_pattern_that_runs_away_is_skipped_with_a_reason(make_signature: Callable[..., SignatureFile]) -> None:
    files = [make_signature("a/slow", r"needle (?:a|a)+(?:a|a)+(?:a|a)+c"), make_signature("b/fine", "needle")]
    catalog = catalog_of(files)
    result = find_in_text("one\nneedle " + "a" * 3000 + " needle aaac", catalog, compile_index(catalog))
    assert dict(result.skipped) == {"a/slow": "its pattern took too long on sample:2"}
    assert ids(result) == ["b/fine"]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.binary(max_size=60)
        | st.sampled_from(
            [
                ERROR.encode(),
                b"Traceback (most recent call last):",
                b'  File "a.py", line 1, in f',
                b"KeyError: 'text'",
                b"config:",
                b"{",
                b"}",
                b"Root Cause (first observed failure):",
            ]
        ),
        max_size=15,
    ),
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
)
def test_no_bytes_make_it_raise(small: Catalog, small_index, pieces: list[bytes], between: bytes) -> None:
    data = between.join(pieces)
    result = find_in_blocks([("run.log", [Block(data, len(data))] if data else [])], small, small_index)
    assert result.size == len(data)


def test_a_status_code_in_front_of_a_line_is_no_rank(find: Find) -> None:
    assert only(find(f"one\n404: {ERROR}\nthree")).ranks == ()
    assert only(find(f"404: Not Found\n404: Not Found\n404: Not Found\nthree\n500: {ERROR}")).ranks == ()


@pytest.mark.parametrize("between", ["", "nothing\n" * 5])
def test_among_labelled_lines_it_is_one(find: Find, between: str) -> None:
    assert only(find(f"100: one\n101: two\n100: three\n{between}404: {ERROR}\n")).ranks == (404,)


def test_labels_in_an_earlier_block_count(find: Find, small: Catalog) -> None:
    first, last = f"100: one\n101: two\n100: three\n100: {STEP.format(n=1)}".encode(), f"404: {ERROR}\n".encode()
    blocks = [Block(first, len(first)), Block(last, len(last))]
    result = find_in_blocks([("run.log", blocks)], small, compile_index(small))
    assert only(result).ranks == (404,)


def test_a_status_code_in_front_of_a_broken_line_is_no_rank(find: Find) -> None:
    broken = "RuntimeError: Expected to mark a vari\nable ready only once."
    assert only(find(f"one\n404: {broken}\n")).ranks == ()
    assert only(find(f"100: one\n101: two\n100: three\n404: {broken}\n")).ranks == (404,)


STOOD_STILL = """[2024-04-26 19:12:08,145] [INFO] Starting trainer...
[2024-04-26 19:46:51,337] torch.distributed.elastic.agent.server.api: [WARNING] Received Signals.SIGINT death signal
"""


def test_one_log_that_stood_still_until_an_interrupt_says_how_long(find_all: Find) -> None:
    finding = next(one for one in find_all(STOOD_STILL).findings if one.id == "torchrun/hang-interrupted")
    assert (finding.captures["minutes"], finding.captures["since"]) == ("35", "04-26 19:12:08")


@pytest.mark.parametrize(
    "logs",
    [{"rank_1.log": STOOD_STILL}, {"a.log": STOOD_STILL, "b.log": STOOD_STILL}],
    ids=["a rank that prints little", "several logs, of which one may have gone on"],
)
def test_a_silent_log_is_no_run_that_stood_still(logs: dict[str, str], find_all: Find) -> None:
    assert ids(find_all(logs)) == ["torchrun/sigint"]
