"""Phrases that more than one renderer uses: places, counts, and text made safe to show."""

import re

from doctor.finding import Finding, Lines, Place, Steps, Tensor, stamp
from doctor.masks import masked
from doctor.report import Report

_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
LONGEST_EVIDENCE = 320
MOST_IDS = 2


def plain(text: str) -> str:
    """Text without control characters and without those that change the direction of writing."""
    return _UNPRINTABLE.sub("", text.replace("\t", "    "))


def shortened(text: str) -> str:
    """Evidence at a length that a ticket bears."""
    text = plain(text)
    return text if len(text) <= LONGEST_EVIDENCE else text[:LONGEST_EVIDENCE].rstrip() + " ..."


def evidence(finding: Finding, report: Report) -> list[str]:
    """What a finding was seen by; a file is named only where the report is about several."""
    alone = _is_alone(finding, report)
    return [
        shortened(text.replace(f"({finding.place.path}:", "(line ") if alone else text) for text in finding.evidence
    ]


def not_looked_at(report: Report) -> list[str]:
    """What was not judged, and why: of many rules their number, of many runs the first, since JSON has them all."""
    alone = f"{report.subject.paths[0]}: " if len(report.subject.paths) == 1 else ""
    alike: dict[tuple[str, str], list[str]] = {}
    for ids, why in report.skipped:
        many = ids.count(", ") + 1
        said = why.removeprefix(alone)
        alike.setdefault((ids if many <= MOST_IDS else f"{many} rules", masked(said)), []).append(said)
    return [
        f"{rules}: {whys[0]}{f' (and {len(whys) - 1} more like it)' if len(whys) > 1 else ''}"
        for (rules, _), whys in alike.items()
    ]


def told(finding: Finding, report: Report) -> str:
    """Where a finding is and how often, in words: run.log:27, rank 1, gpu-node-03, 11-24 03:04:05.678, on 2 ranks.

    The file is named only where the report is about several.
    """
    alone = _is_alone(finding, report)
    count = f"{finding.count:,} times" if finding.count > 1 else ""
    ranks = f"on {len(finding.ranks)} ranks" if len(finding.ranks) > 1 else ""
    said = [*_place(finding.place, alone), " ".join(part for part in (count, ranks) if part)]
    return plain(", ".join(part for part in said if part))


def _is_alone(finding: Finding, report: Report) -> bool:
    """Whether the report is about the finding's file only."""
    return report.subject.paths == (finding.place.path,)


def _place(place: Place, alone: bool) -> list[str]:
    path = "" if alone else place.path
    if isinstance(place, Lines):
        rank = f"rank {place.rank}" if place.rank is not None else ""
        clock = stamp(place.time) if place.time is not None else ""
        return [f"line {place.first}" if alone else f"{path}:{place.first}", rank, place.host or "", clock]
    if isinstance(place, Steps):
        steps = f"step {place.first}" + (f" to {place.last}" if place.last != place.first else "")
        return [path, place.series, steps]
    if isinstance(place, Tensor):
        return [path, place.name]
    if alone:
        return [f"line {place.line}" if place.line else "", place.key if place.line else f"{place.key} (not set)"]
    return [f"{path}:{place.line}" if place.line else path, place.key if place.line else f"{place.key} (not set)"]


Brief = tuple[Finding, int]


def split(report: Report) -> tuple[list[Finding], list[Brief], list[Brief]]:
    """Findings told in full, and those told in a line each and echoes, with how many more runs have the same."""
    root = report.verdict.root
    echoes = [one for one in report.findings if one.explained_by is not None or one.role.value == "echo"]
    told = [one for one in report.findings if one not in echoes]
    full = [one for one in told if one.id == root or (one.severity.value == "error" and root is None)] or told[:1]
    return full, _by_run([one for one in told if one not in full]), _by_run(echoes)


def _by_run(findings: list[Finding]) -> list[Brief]:
    """Each finding but those of traces that another run has, too."""
    ids = [one.id for one in findings if isinstance(one.place, Steps)]
    first = {id: next(one for one in findings if one.id == id) for id in ids}
    return [(one, ids.count(one.id) - 1 if one.id in first else 0) for one in findings if first.get(one.id, one) is one]


def told_briefly(finding: Finding, more: int, report: Report) -> str:
    """Where a finding is, and in how many more runs."""
    return told(finding, report) + (f", and in {more} more run{'s' if more > 1 else ''}" if more else "")


def scope(report: Report) -> str:
    """What was looked at, with how many signatures."""
    paths = report.subject.paths
    named = paths[0] if len(paths) == 1 else f"{len(paths)} files"
    amount = f"{report.subject.lines:,} lines" if report.subject.lines else f"{report.subject.size:,} bytes"
    return f"{plain(named)}: {amount}, {report.signatures} signatures"
