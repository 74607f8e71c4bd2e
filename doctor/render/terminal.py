"""The report for a terminal, or as plain text where the output is none."""

from io import StringIO
from textwrap import indent

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from doctor.finding import Finding, Key, Lines, Severity, Steps, Tensor
from doctor.render.chart import drawn
from doctor.render.words import evidence, not_looked_at, plain, scope, split, told, told_briefly
from doctor.report import Report
from doctor.rootcause import State

NARROWEST, WIDEST = 40, 100
NO_SIGNATURE = "unknown/"  # the family of findings that there is nothing more to say of

_SHOWN = {Lines: "Log", Steps: "Trace", Tensor: "Shown", Key: "Set"}
_COLOURS = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.NOTE: "cyan"}
_STATES = {State.CLEAN: "green", State.FOUND: "red", State.UNDECIDED: "yellow"}


def render(report: Report, width: int = 80, colour: bool = False) -> str:
    """The report in at most ``width`` columns, with colours only if asked for."""
    out = StringIO()
    console = Console(
        file=out,
        width=max(NARROWEST, min(width, WIDEST)),
        force_terminal=colour,
        color_system="standard" if colour else None,
        highlight=False,
        emoji=False,
        legacy_windows=False,
    )
    for part in _parts(report):
        console.print(part, soft_wrap=isinstance(part, Text) and bool(part.no_wrap))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _parts(report: Report) -> list[RenderableType]:
    full, brief, echoes = split(report)
    parts: list[RenderableType] = [_headline(report)]
    for finding in full:
        parts += [""] if finding.id == report.verdict.root else ["", _title(finding)]
        parts += _full(finding, report)
    parts += [part for block in drawn(report) for part in ("", _lines(block))]
    if report.verdict.ask_for:
        parts += ["", _list("To find the cause, collect", report.verdict.ask_for)]
    if brief:
        parts += ["", Text("Also found", style="bold"), *(_brief(finding, more, report) for finding, more in brief)]
    if echoes:
        parts += [
            "",
            Text("Echoes, which go away with the cause", style="bold"),
            *(_brief(finding, more, report) for finding, more in echoes),
        ]
    if report.skipped:
        parts += ["", _list("Not looked at", not_looked_at(report))]
    return [*parts, "", _footer(report)]


def _lines(block: list[str]) -> RenderableType:
    """Lines that mean something only one below the other."""
    return Text(plain("\n".join(block)), overflow="fold")


def _headline(report: Report) -> Text:
    verdict = report.verdict
    text = Text()
    text.append(verdict.state.value.upper(), style=f"bold {_STATES[verdict.state]}")
    root = next((one for one in report.findings if one.id == verdict.root), None)
    if root is not None:
        text.append("  ").append(_title(root))
    return text.append(f"\n{plain(verdict.summary)}")


def _full(finding: Finding, report: Report) -> list[RenderableType]:
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="bold", no_wrap=True)
    rows.add_column(overflow="fold")
    rows.add_row("Where", Text(told(finding, report)))
    for n, text in enumerate(evidence(finding, report)):
        rows.add_row("" if n else _SHOWN[type(finding.place)], Text(text, style="dim"))
    rows.add_row("Why", Text(plain(finding.cause)))
    rows.add_row("Fix", Text(plain(finding.fix), style="green"))
    parts: list[RenderableType] = [rows]
    if finding.config:
        parts.append(_unwrapped(indent(plain(finding.config), " " * 9)))
    if finding.references:
        parts.append(_unwrapped(f"See    {finding.references[0]}", style="dim"))
    return parts


def _unwrapped(text: str, style: str = "") -> Text:
    """What is there to be pasted: it stays on its lines, however long they are."""
    return Text(text, style=style, no_wrap=True)


def _title(finding: Finding) -> Text:
    text = Text(finding.severity.value, style=f"bold {_COLOURS[finding.severity]}")
    text.append(f" {finding.id}", style="bold not dim")
    return text.append(f"  ({finding.confidence.value} confidence)", style="dim not bold")


def _brief(finding: Finding, more: int, report: Report) -> RenderableType:
    text = Text(f"{finding.severity.value} ", style=_COLOURS[finding.severity])
    text.append(f"{finding.id}: ", style="bold")
    text.append(plain(finding.title), style="default not bold")
    return Padding(text.append(f" ({told_briefly(finding, more, report)})", style="dim"), (0, 0, 0, 2))


def _list(heading: str, items: "tuple[str, ...] | list[str]") -> RenderableType:
    rows = Table.grid(padding=(0, 1))
    for item in items:
        rows.add_row("  -", Text(plain(item)))
    return Group(Text(heading, style="bold"), rows)


def _footer(report: Report) -> Text:
    hidden = "" if report.redacted else " NOT REDACTED: secrets, names and hosts are shown as they stand in the input."
    root = report.verdict.root
    more = f" More: doctor explain {root}" if root and not root.startswith(NO_SIGNATURE) else ""
    return Text(f"{scope(report)}.{hidden}{more}", style="dim")
