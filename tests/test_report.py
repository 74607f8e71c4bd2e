"""The exit code that goes with a report."""

import pytest

from doctor.finding import Confidence, Finding, Lines, Role, Severity
from doctor.report import ExitCode, Report, Subject, exit_code
from doctor.rootcause import State, Verdict


def report(*severities: Severity) -> Report:
    findings = tuple(
        Finding("a/b", "T", severity, Confidence.HIGH, Role.ROOT, Lines("x", 1, 1), (), "c", "f")
        for severity in severities
    )
    return Report(Subject("logs", ("x",)), Verdict(State.CLEAN, None, ""), findings, {}, 1, "d")


@pytest.mark.parametrize(
    ("severities", "fail_on", "code"),
    [
        ((), Severity.NOTE, ExitCode.NOTHING_FOUND),
        ((Severity.NOTE,), Severity.NOTE, ExitCode.FOUND),
        ((Severity.NOTE,), Severity.WARNING, ExitCode.NOTHING_FOUND),
        ((Severity.WARNING, Severity.NOTE), Severity.WARNING, ExitCode.FOUND),
        ((Severity.WARNING,), Severity.ERROR, ExitCode.NOTHING_FOUND),
        ((Severity.NOTE, Severity.ERROR), Severity.ERROR, ExitCode.FOUND),
    ],
)
def test_exit_code_depends_on_the_worst_finding(
    severities: tuple[Severity, ...], fail_on: Severity, code: ExitCode
) -> None:
    assert exit_code(report(*severities), fail_on) is code
