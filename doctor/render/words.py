"""Phrases that more than one renderer uses: places, counts, and text made safe to show."""

import re

from doctor.finding import Finding, Lines, Place, Steps, Tensor, stamp
from doctor.report import Report

_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
LONGEST_EVIDENCE = 600


def plain(text: str) -> str:
    """Text without control characters and without those that change the direction of writing."""
    return _UNPRINTABLE.sub("", text.replace("\t", "    "))


def shortened(text: str) -> str:
    """Evidence at a length that a ticket bears."""
    text = plain(text)
    return text if len(text) <= LONGEST_EVIDENCE else text[:LONGEST_EVIDENCE].rstrip() + " ..."


def where(place: Place) -> str:
    """A place in words: run.log:27, rank 1, gpu-node-03, 11-24 03:04:05.678."""
    if isinstance(place, Lines):
        said = [f"rank {place.rank}" if place.rank is not None else "", place.host or ""]
        said.append(stamp(place.time) if place.time is not None else "")
        return ", ".join([f"{place.path}:{place.first}", *filter(None, said)])
    if isinstance(place, Steps):
        return f"{place.path}, {place.series}, step {place.first}" + (
            f" to {place.last}" if place.last != place.first else ""
        )
    if isinstance(place, Tensor):
        return f"{place.path}, {place.name}"
    return f"{place.path}:{place.line}, {place.key}" if place.line else f"{place.path}, {place.key} (not set)"


def times(finding: Finding) -> str:
    """How often, and on how many ranks; empty for once."""
    count = f"{finding.count:,} times" if finding.count > 1 else ""
    ranks = f"on {len(finding.ranks)} ranks" if len(finding.ranks) > 1 else ""
    return " ".join(part for part in (count, ranks) if part)


def split(report: Report) -> tuple[list[Finding], list[Finding], list[Finding]]:
    """Findings told in full, those told in a line each, and echoes."""
    root = report.verdict.root
    echoes = [one for one in report.findings if one.explained_by is not None or one.role.value == "echo"]
    told = [one for one in report.findings if one not in echoes]
    full = [one for one in told if one.id == root or (one.severity.value == "error" and root is None)] or told[:1]
    return full, [one for one in told if one not in full], echoes


def scope(report: Report) -> str:
    """What was looked at, with how many signatures."""
    paths = report.subject.paths
    named = paths[0] if len(paths) == 1 else f"{len(paths)} files"
    amount = f"{report.subject.lines:,} lines" if report.subject.lines else f"{report.subject.size:,} bytes"
    return f"{plain(named)}: {amount}, {report.signatures} signatures"
