"""The flows, from input to report. Read this first."""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from doctor.catalog import Catalog
from doctor.facts import Facts, Value
from doctor.finding import Finding, Severity, Steps
from doctor.logs import match as text_match
from doctor.logs.index import load_index
from doctor.logs.source import find_sources
from doctor.report import Plot, Report, Subject
from doctor.rootcause import State, Verdict, judge
from doctor.signature import Trace

if TYPE_CHECKING:
    from doctor.config.match import ConfigResult
    from doctor.logs.match import LogResult
    from doctor.points import Points
    from doctor.traces.match import TraceResult
    from doctor.weights.inspection import Inspection


MOST_PLOTS = 3
# The verdict on tables whose columns are not known.
NOTHING_READ = Verdict(
    State.UNDECIDED, None, "No metric was recognised, so nothing was judged.", ("the log of the run",)
)
# Names that may be those of a structured source; what is in them decides.
METRIC_FILE = re.compile(r"\.(?:jsonl?|csv|wandb)$|tfevents")


def diagnose_logs(
    paths: list[str],
    catalog: Catalog,
    on_read: Callable[[int], None] = lambda count: None,
    config: Path | None = None,
    table: Path | None = None,
) -> Report:
    """The report on the logs of one case: one file, or the files of all its ranks and nodes.

    ``config`` is the configuration that the run was started with, for a log that does not print it; ``table`` a .csv or
    .parquet file to write all points of all metric series to.
    """
    tables, told = _metric_files(paths), _told(config)
    sources = find_sources([path for path in paths if Path(path) not in tables], needed=not tables)
    result = text_match.find(sources, catalog, load_index(catalog), on_read, told)
    facts, traces = result.facts, _traces(tables, paths, result, catalog)
    unread = _unread(paths, tables, result, traces)
    found = [*result.findings, *_of_settings(facts, catalog, result.findings)]
    verdict, findings = judge([*found, *(traces.findings if traces else ())], facts, result.waits)
    if table is not None:
        _write_points(table, traces)
    return Report(
        subject=_subject([source.path for source in sources], tables, result),
        verdict=_within_sight(verdict, bool(sources), bool(unread), bool(traces and traces.runs)),
        findings=findings,
        facts=_values(facts),
        signatures=len(catalog),
        digest=catalog.digest,
        skipped=(*result.skipped, *(traces.skipped if traces else ()), *unread),
        traces=traces.summaries() if traces else (),
        plots=_plots(traces, findings) if traces else (),
    )


def _metric_files(paths: list[str]) -> list[Path]:
    """The tables, histories and event files of a run: those named, and those in the folders named."""
    candidates = [Path(path) for path in paths if Path(path).is_dir() or METRIC_FILE.search(path)]
    if not candidates:
        return []
    from doctor.traces.run_folder import is_metric_file, metric_files

    folders = [file for path in candidates if path.is_dir() for file in metric_files(path)]
    return [path for path in candidates if not path.is_dir() and is_metric_file(path)] + folders


def _traces(tables: list[Path], named: list[str], result: LogResult, catalog: Catalog) -> TraceResult | None:
    """What the metrics of the logs and tables say; None where there are none."""
    if not tables and not result.points:
        return None
    from doctor.traces.match import find
    from doctor.traces.run_folder import best_sources, read_metric_files

    read, faults = read_metric_files(tables, named, alone=not result.size)
    points = best_sources(read, result.points)
    result.points.clear()
    found = find(_handed_over(points), catalog.of_kind(Trace), result.facts)
    return replace(found, skipped=(*found.skipped, *faults), unread=tuple(one for one in read if not len(one)))


def _unread(
    paths: list[str], tables: list[Path], result: LogResult, traces: TraceResult | None
) -> tuple[tuple[str, str], ...]:
    """(rules, why) for each table and log of training that holds no metric that is known."""
    others = [path for path in map(Path, paths) if METRIC_FILE.search(path.name) and path not in tables]
    read = traces.unread if traces is not None else ()
    counting = () if traces is not None and traces.runs else result.counting
    if not (others or read or counting):
        return ()
    from doctor.traces.unread import unread_logs, unread_tables

    return (*unread_tables(others, read), *unread_logs(counting))


def _subject(logs: list[str], tables: list[Path], result: LogResult) -> Subject:
    """The logs and the tables; their bytes, and the lines of the logs."""
    apart = [path for path in tables if str(path) not in logs]
    size = result.size + sum(path.stat().st_size for path in apart)
    return Subject("logs", (*logs, *map(str, apart)), size, result.lines)


def _within_sight(verdict: Verdict, logs: bool, unread: bool, judged: bool) -> Verdict:
    """What was not read is not clean: of tables only the metrics say anything."""
    if verdict.state is not State.CLEAN:
        return verdict
    if not logs:
        return replace(verdict, summary="Nothing in these metrics is known to go wrong.") if judged else NOTHING_READ
    more = " No metric was recognised, so how training went was not judged." if unread and not judged else ""
    return replace(verdict, summary=f"{verdict.summary}{more}")


def _handed_over(points: list[Points]) -> Iterator[Points]:
    """One after the other, and each but once: the points of a long run take more memory than anything else."""
    while points:
        yield points.pop(0)


def _write_points(path: Path, traces: TraceResult | None) -> None:
    from doctor.traces.points_table import write_points

    write_points(path, traces.runs if traces else ())


def _plots(traces: TraceResult, findings: Iterable[Finding]) -> tuple[Plot, ...]:
    """The series that findings are about, each once, with the steps of its findings."""
    marks: dict[tuple[str, int, str], list[float]] = {}
    for finding in findings:
        if isinstance(finding.place, Steps) and finding.severity is not Severity.NOTE:
            place = finding.place
            marks.setdefault((place.path, place.run, place.series), []).append(float(place.first))
    series = {(run.path, run.number, name): one for run in traces.runs for name, one in run.series.items()}
    drawn = [(series[key], steps) for key, steps in marks.items() if key in series][:MOST_PLOTS]
    return tuple(
        Plot(one.name, array("d", one.steps.tobytes()), array("d", one.values.tobytes()), tuple(sorted(set(steps))))
        for one, steps in drawn
    )


def _told(config: Path | None) -> Facts:
    """The facts of a configuration file, if one is given."""
    if config is None:
        return {}
    from doctor.config.read import facts_of, read

    return facts_of(read(config), {})


def _values(facts: Facts) -> dict[str, Value]:
    """The facts that are known and set, as a report shows them."""
    return {key: fact.value for key, fact in facts.items() if fact.value is not None}


def _of_settings(facts: Facts, catalog: Catalog, seen: Iterable[Finding]) -> tuple[Finding, ...]:
    """What the configuration that a log prints runs into, beside what its text says has happened."""
    if "config_format" not in facts:
        return ()
    from doctor.config.match import find_in_facts

    return find_in_facts(facts, catalog, {finding.id for finding in seen})


def diagnose_config(path: Path, catalog: Catalog, known: Facts) -> tuple[Report, ConfigResult]:
    """The report on a configuration, and what was found in it; ``known`` holds what the file can't tell."""
    from doctor.config.match import find

    result = find(path, catalog, known)
    verdict, findings = judge(result.findings, result.facts)
    if verdict.state is State.CLEAN:
        verdict = replace(verdict, summary="Nothing in this configuration is known to go wrong.")
    text = result.document.text
    report = Report(
        subject=Subject("config", (str(path),), len(text.encode()), len(text.splitlines())),
        verdict=verdict,
        findings=findings,
        facts=_values(result.facts),
        signatures=len(catalog),
        digest=catalog.digest,
    )
    return report, result


def diagnose_weights(inspection: Inspection, catalog: Catalog, written: str | None = None) -> Report:
    """The report on a checkpoint that was measured and judged; ``written`` is where its repaired copy lies."""
    from doctor.weights.inspection import group_rows, plan_rows

    verdict, findings = judge(inspection.findings, inspection.facts)
    if verdict.state is State.CLEAN:
        verdict = _clean_weights(verdict, len(inspection.measured), len(inspection.unmeasured))
    return Report(
        subject=Subject("weights", (str(inspection.checkpoint.path),), inspection.nbytes),
        verdict=verdict,
        findings=findings,
        facts=_values(inspection.facts),
        signatures=len(catalog),
        digest=catalog.digest,
        skipped=inspection.skipped,
        groups=tuple(group_rows(inspection.groups)),
        plan=tuple(plan_rows(inspection.plan)),
        written=written,
    )


def _clean_weights(verdict: Verdict, measured: int, unmeasured: int) -> Verdict:
    """What was not measured is not clean."""
    said = f"{measured:,} tensors measured, nothing is out of line"
    if not unmeasured:
        return replace(verdict, summary=f"{said}.")
    asked = ("the checkpoint from before it was quantised",)
    return Verdict(State.UNDECIDED, None, f"{said}; {unmeasured:,} were not measured.", asked)
