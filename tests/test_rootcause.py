"""Root, echo, undecided: judged by kind of evidence, then clock, then place."""

from dataclasses import replace

from doctor.facts import Fact
from doctor.finding import Confidence, Finding, Lines, Role, Severity
from doctor.rootcause import State, judge

CLEAN = "No signature matches, and no failure is left unexplained."


def finding(id: str, role: Role = Role.ROOT, *, line: int = 1, path: str = "run.log", **changes: object) -> Finding:
    place = Lines(path, line, line, changes.pop("rank", None), changes.pop("host", None), changes.pop("time", None))
    base = Finding(id, id.title(), Severity.ERROR, Confidence.HIGH, role, place, ("text",), "cause", "fix")
    return replace(base, **changes)


def roots(*findings: Finding, **facts: object) -> str | None:
    """The root's id, whatever the order in which the findings come."""
    known = {key.replace("__", "."): Fact(value) for key, value in facts.items()}
    verdicts = {judge(order, known)[0].root for order in (findings, findings[::-1])}
    assert len(verdicts) == 1, "the verdict depends on the order of its input"
    return verdicts.pop()


def test_nothing_is_clean() -> None:
    verdict, findings = judge([], {})
    assert (verdict.state, verdict.root, verdict.summary, findings) == (State.CLEAN, None, CLEAN, ())


def test_notes_alone_are_clean() -> None:
    verdict, findings = judge([finding("cuda/out-of-memory", severity=Severity.NOTE)], {})
    assert verdict.state is State.CLEAN
    assert [one.explained_by for one in findings] == [None]


def test_an_echo_never_is_the_root_wherever_it_stands() -> None:
    echo, root = finding("torchrun/child-failed", Role.ECHO, line=1), finding("peft/merge-quantized", line=900)
    assert roots(echo, root) == "peft/merge-quantized"
    _, findings = judge([echo, root], {})
    assert [(one.id, one.explained_by) for one in findings] == [
        ("peft/merge-quantized", None),
        ("torchrun/child-failed", "peft/merge-quantized"),
    ]


def test_kind_of_evidence_beats_clock_and_place() -> None:
    scheduler = finding("slurm/time-limit", line=999, time=900.0)
    exception = finding("dataset/missing-field", line=500, time=500.0)
    transport = finding("nccl/connect-failed", line=10, time=100.0)
    timeout = finding("nccl/watchdog-timeout", Role.EITHER, line=1, time=1.0)
    assert roots(scheduler, exception, transport, timeout) == "slurm/time-limit"
    assert roots(exception, transport, timeout) == "dataset/missing-field"
    assert roots(transport, timeout) == "nccl/connect-failed"


def test_a_failure_of_its_own_above_the_root_is_no_echo() -> None:
    root = finding("cuda/out-of-memory", line=196)
    for id, path, echo in (
        ("tokenizer/stride", "run.log", False),
        ("nccl/net", "run.log", True),
        ("a/b", "other", True),
    ):
        _, findings = judge([root, finding(id, Role.EITHER, line=62, path=path)], {})
        assert [one.explained_by is not None for one in findings if one.id == id] == [echo], id


def test_an_exception_beats_what_a_shell_says_above_it_unless_that_explains_it() -> None:
    shell, raised = finding("env/conda-failed", line=2), finding("env/torchvision-mismatch", line=72)
    assert roots(shell, raised) == "env/torchvision-mismatch"
    missing = finding("env/module-missing", Role.EITHER, line=72)
    assert roots(replace(shell, explains=("env/module-missing",)), missing) == "env/conda-failed"
    assert roots(shell, finding("host/run-reported-failed", Role.ECHO, line=90)) == "env/conda-failed"


def test_the_clock_decides_between_equal_kinds() -> None:
    late, early = finding("dataset/missing-field", line=1, time=20.0), finding("host/disk-full", line=9, time=10.0)
    assert roots(late, early) == "host/disk-full"


def test_without_clocks_the_rank_that_the_launcher_saw_first_decides() -> None:
    one, other = finding("dataset/missing-field", line=1, ranks=(0,)), finding("host/disk-full", line=9, ranks=(2,))
    assert roots(one, other) == "dataset/missing-field"
    assert roots(one, other, failed__rank=2) == "host/disk-full"


def test_a_specific_finding_explains_the_general_one() -> None:
    general = finding("cuda/out-of-memory", line=3)
    specific = finding("cuda/oom-eval-logits", line=3, explains=("cuda/out-of-*",))
    assert roots(general, specific) == "cuda/oom-eval-logits"
    _, findings = judge([general, specific], {})
    assert findings[1].explained_by == "cuda/oom-eval-logits"


def test_a_warning_that_explains_an_error_is_the_root() -> None:
    warning = finding("actckpt/no-input-requires-grad", severity=Severity.WARNING, explains=("autograd/no-grad-fn",))
    assert roots(warning, finding("autograd/no-grad-fn", line=9)) == "actckpt/no-input-requires-grad"


def test_a_warning_did_not_end_the_run_that_another_message_says_failed() -> None:
    plateau = finding("trace/loss-plateau", Role.EITHER, severity=Severity.WARNING)
    killed = finding("torchrun/child-failed", Role.ECHO)
    verdict, findings = judge([plateau, killed], {})
    assert (verdict.state, verdict.root) == (State.UNDECIDED, None)
    assert {one.id: one.explained_by for one in findings} == {plateau.id: None, killed.id: None}
    assert roots(plateau, replace(killed, severity=Severity.NOTE)) == plateau.id
    assert roots(plateau, killed, finding("host/disk-full")) == "host/disk-full"


def test_an_unknown_exception_yields_to_a_known_one() -> None:
    unknown = finding("unknown/exception", Role.EITHER, line=1, confidence=Confidence.LOW)
    assert roots(unknown, finding("host/disk-full", Role.EITHER, line=9)) == "host/disk-full"


def test_only_launcher_lines_are_undecided_and_say_what_to_collect() -> None:
    findings = [finding("torchrun/child-failed", Role.ECHO), finding("torchrun/closing-signal-sigterm", Role.ECHO)]
    verdict, _ = judge(findings, {})
    assert (verdict.state, verdict.root) == (State.UNDECIDED, None)
    assert any("--redirects 3" in one for one in verdict.ask_for)
    assert any("@record" in one for one in verdict.ask_for)


def test_a_log_that_stops_is_undecided_unless_something_failed() -> None:
    stopped = finding("unknown/stopped", Role.EITHER, severity=Severity.NOTE)
    verdict, _ = judge([stopped, finding("x/harmless", severity=Severity.NOTE)], {})
    assert (verdict.state, verdict.summary) == (State.UNDECIDED, "Unknown/Stopped, and no failure is in it.")
    assert verdict.ask_for[0].startswith("what ended the process")
    assert judge([stopped, finding("x/y")], {})[0].root == "x/y"


def test_a_cut_traceback_is_undecided_and_asks_for_the_rest_of_the_log() -> None:
    verdict, _ = judge([finding("unknown/traceback-cut", Role.ECHO)], {})
    assert (verdict.state, verdict.root) == (State.UNDECIDED, None)
    assert verdict.ask_for == ("the rest of the log: the exception stands on the last line of a traceback",)


def test_a_run_that_the_shell_calls_terminated_is_undecided_and_asks_who_ended_it() -> None:
    verdict, _ = judge([finding("host/terminated", Role.ECHO)], {})
    assert verdict.state is State.UNDECIDED
    assert verdict.ask_for[0].startswith("who ended the job")


def test_a_timeout_with_a_rank_unheard_of_is_undecided_and_names_the_rank() -> None:
    timeout = finding("nccl/watchdog-timeout", Role.EITHER, ranks=(0, 1, 3))
    verdict, _ = judge([timeout], {"world_size": Fact(4)})
    assert verdict.state is State.UNDECIDED
    assert verdict.ask_for[0].startswith("the log of rank 2:")


def test_a_timeout_of_all_ranks_is_the_root() -> None:
    assert roots(finding("nccl/watchdog-timeout", Role.EITHER, ranks=(0, 1)), world_size=2) == "nccl/watchdog-timeout"


def test_the_summary_names_rank_host_and_echoing_ranks() -> None:
    root = finding("dataset/missing-field", rank=3, host="node7", ranks=(3,))
    echo = finding("gloo/peer-closed", Role.ECHO, ranks=(0, 1, 2))
    verdict, _ = judge([root, echo], {})
    assert verdict.summary == "Dataset/Missing-Field. First seen on rank 3 of node7. 3 more only echo it."


def test_order_is_root_other_roots_warnings_echoes_notes() -> None:
    given = [
        finding("torchrun/child-failed", Role.ECHO),
        finding("cuda/arch-warning", severity=Severity.WARNING),
        finding("wandb/no-api-key", severity=Severity.NOTE),
        finding("host/disk-full", line=1),
        finding("dataset/missing-field", line=2),
    ]
    _, findings = judge(given, {})
    assert [one.id for one in findings] == [
        "host/disk-full",
        "dataset/missing-field",
        "cuda/arch-warning",
        "torchrun/child-failed",
        "wandb/no-api-key",
    ]
