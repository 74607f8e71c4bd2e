"""The report as JSON, schema doctor.report/1: its keys are a promise, whatever doctor's own types are called."""

import json
from collections.abc import Mapping

from doctor import __version__
from doctor.finding import Finding, Key, Lines, Place, Steps, Tensor, stamp
from doctor.report import Report

SCHEMA = "doctor.report/1"


def render(report: Report) -> str:
    """One JSON object, with every key of the schema; what does not apply is null or empty."""
    return json.dumps(_table(report), indent=2, ensure_ascii=True) + "\n"


def _table(report: Report) -> dict[str, object]:
    verdict = report.verdict
    return {
        "schema": SCHEMA,
        "doctor": {"version": __version__, "signatures": report.signatures, "digest": f"sha256:{report.digest}"},
        "subject": {
            "kind": report.subject.kind,
            "paths": list(report.subject.paths),
            "bytes": report.subject.size,
            "lines": report.subject.lines,
        },
        "verdict": {
            "state": verdict.state.value,
            "root": verdict.root,
            "summary": verdict.summary,
            "ask_for": list(verdict.ask_for),
        },
        "findings": [_finding(finding) for finding in report.findings],
        "traces": [dict(one) for one in report.traces],
        "facts": dict(report.facts),
        "groups": [dict(one) for one in report.groups],
        "plan": [dict(one) for one in report.plan],
        "written": report.written,
        "skipped": [{"id": id, "why": why} for id, why in report.skipped],
    }


def _finding(finding: Finding) -> dict[str, object]:
    return {
        "id": finding.id,
        "title": finding.title,
        "severity": finding.severity.value,
        "confidence": finding.confidence.value,
        "role": finding.role.value,
        "explained_by": finding.explained_by,
        "count": finding.count,
        "ranks": list(finding.ranks),
        "place": _place(finding.place),
        "evidence": list(finding.evidence),
        "cause": finding.cause,
        "fix": finding.fix,
        "config": finding.config,
        "captures": dict(finding.captures),
        "references": list(finding.references),
        "fingerprint": finding.fingerprint,
    }


_PLACE: Mapping[str, object] = dict.fromkeys(
    ("path", "first_line", "last_line", "rank", "host", "time", "step", "tensor")
)


def _place(place: Place) -> dict[str, object]:
    """A place of any kind; a configuration's key stands where a tensor's name would."""
    found: dict[str, object] = {"path": place.path}
    if isinstance(place, Lines):
        time = None if place.time is None else stamp(place.time)
        found |= {
            "first_line": place.first,
            "last_line": place.last,
            "rank": place.rank,
            "host": place.host,
            "time": time,
        }
    elif isinstance(place, Steps):
        found |= {"step": place.first}
    elif isinstance(place, Tensor):
        found |= {"tensor": place.name}
    elif isinstance(place, Key):
        found |= {"first_line": place.line or None, "last_line": place.line or None, "tensor": None}
    return {**_PLACE, **found}
