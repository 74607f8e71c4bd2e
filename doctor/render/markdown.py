"""The report as the body of a ticket: Markdown that stays short and in which nothing of the log is markup."""

import re

from doctor.finding import Finding
from doctor.render.chart import drawn
from doctor.render.words import evidence, not_looked_at, plain, scope, split, told, told_briefly
from doctor.report import Report

LONGEST = 60_000
_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!|<>@~$&])")


def render(report: Report) -> str:
    """Markdown of less than 60,000 characters, which is what issue trackers take."""
    full, brief, echoes = split(report)
    parts = [_headline(report), *(_full(finding, report) for finding in full)]
    parts += [fenced("\n".join(block), "text") for block in drawn(report)]
    if report.verdict.ask_for:
        parts.append(_list("To find the cause, collect", [escaped(one) for one in report.verdict.ask_for]))
    if brief:
        parts.append(_list("Also found", [_brief(finding, more, report) for finding, more in brief]))
    if echoes:
        parts.append(
            _list("Echoes, which go away with the cause", [_brief(finding, more, report) for finding, more in echoes])
        )
    if report.facts:
        parts.append(_facts(report))
    if report.skipped:
        parts.append(_list("Not looked at", list(map(escaped, not_looked_at(report)))))
    return _fitted(parts, _footer(report))


def escaped(text: str) -> str:
    """Text in which no character is markup, on one line."""
    return _SPECIAL.sub(r"\\\1", plain(text).replace("\n", " ")).replace("\\<", "&lt;").replace("\\>", "&gt;")


def fenced(text: str, language: str = "") -> str:
    """A code block whose fence is longer than any in the text."""
    text = plain(text)
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def _headline(report: Report) -> str:
    verdict = report.verdict
    root = f": `{verdict.root}`" if verdict.root else ""
    return f"### doctor: {verdict.state.value}{root}\n\n{escaped(verdict.summary)}"


def _full(finding: Finding, report: Report) -> str:
    parts = [
        f"**{escaped(finding.title)}** ({finding.severity.value}, {finding.confidence.value} confidence)",
        f"**Why:** {_lines(finding.cause)}",
        f"**Fix:** {_lines(finding.fix)}",
        fenced(finding.config, "yaml") if finding.config else "",
        _evidence(finding, report),
        " ".join(f"<{address}>" for address in finding.references),
    ]
    return "\n\n".join(part for part in parts if part)


def _lines(text: str) -> str:
    return "  \n".join(escaped(line) for line in text.splitlines())


def _evidence(finding: Finding, report: Report) -> str:
    log = fenced("\n".join(evidence(finding, report)), "text")
    return f"<details><summary>Evidence: {escaped(told(finding, report))}</summary>\n\n{log}\n\n</details>"


def _brief(finding: Finding, more: int, report: Report) -> str:
    place = escaped(told_briefly(finding, more, report))
    return f"{finding.severity.value} `{finding.id}`: {escaped(finding.title)} ({place})"


def _list(heading: str, items: list[str]) -> str:
    return "\n".join([f"**{heading}**\n", *(f"- {item}" for item in items)])


def _facts(report: Report) -> str:
    rows = "\n".join(f"{key}: {value}" for key, value in sorted(report.facts.items()))
    return f"<details><summary>What the log says of the run</summary>\n\n{fenced(rows, 'text')}\n\n</details>"


def _footer(report: Report) -> str:
    prints = [finding.fingerprint for finding in report.findings if finding.id == report.verdict.root]
    said = f"fingerprint `{prints[0]}`" if prints else ""
    hidden = "" if report.redacted else "**not redacted**"
    return "; ".join(part for part in (escaped(scope(report)), said, hidden) if part)


def _fitted(parts: list[str], footer: str) -> str:
    """As many parts as fit, the most important being first."""
    room = LONGEST - len(footer) - 200
    kept: list[str] = []
    for part in parts:
        if sum(map(len, kept)) + len(part) + 2 * len(kept) > room:
            kept.append("Cut here: the report is longer than a ticket takes.")
            break
        kept.append(part)
    return "\n\n".join([*kept, footer]) + "\n"
