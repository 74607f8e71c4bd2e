"""Report: all that doctor says about one subject, ready to be rendered, and the exit code that goes with it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from doctor.facts import Value
from doctor.finding import Finding, Severity
from doctor.rootcause import Verdict


class ExitCode(IntEnum):
    """What the command's exit code says. 1 depends on --fail-on."""

    NOTHING_FOUND = 0
    FOUND = 1
    USAGE = 2
    FAILED = 3
    INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Subject:
    """What was looked at: logs, weights or a configuration; its size in bytes and lines after unpacking."""

    kind: str
    paths: tuple[str, ...]
    size: int = 0
    lines: int = 0


@dataclass(frozen=True, slots=True)
class Plot:
    """A metric series to draw: values at ascending global steps, and the steps at which findings are."""

    name: str
    steps: Sequence[float]
    values: Sequence[float]
    marks: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """Findings are in the order in which they are shown. The other fields are those of doctor.report/1."""

    subject: Subject
    verdict: Verdict
    findings: tuple[Finding, ...]
    facts: Mapping[str, Value]
    signatures: int
    digest: str
    skipped: tuple[tuple[str, str], ...] = ()
    traces: tuple[Mapping[str, object], ...] = ()
    plots: tuple[Plot, ...] = ()
    groups: tuple[Mapping[str, object], ...] = ()
    plan: tuple[Mapping[str, object], ...] = ()
    written: str | None = None
    redacted: bool = False


_WEIGHT = {Severity.NOTE: 0, Severity.WARNING: 1, Severity.ERROR: 2}


def exit_code(report: Report, fail_on: Severity) -> ExitCode:
    """FOUND if a finding is at least as severe as ``fail_on``."""
    worst = max((_WEIGHT[finding.severity] for finding in report.findings), default=-1)
    return ExitCode.FOUND if worst >= _WEIGHT[fail_on] else ExitCode.NOTHING_FOUND
