"""The flows, from input to report. Read this first."""

from collections.abc import Callable

from doctor.catalog import Catalog
from doctor.logs import match as text_match
from doctor.logs.index import load_index
from doctor.logs.source import find_sources
from doctor.report import Report, Subject
from doctor.rootcause import judge


def diagnose_logs(paths: list[str], catalog: Catalog, on_read: Callable[[int], None] = lambda count: None) -> Report:
    """The report on the logs of one case: one file, or the files of all its ranks and nodes."""
    sources = find_sources(paths)
    result = text_match.find(sources, catalog, load_index(catalog), on_read)
    verdict, findings = judge(result.findings, result.facts)
    return Report(
        subject=Subject("logs", tuple(source.path for source in sources), result.size, result.lines),
        verdict=verdict,
        findings=findings,
        facts={key: fact.value for key, fact in result.facts.items() if fact.value is not None},
        signatures=len(catalog),
        digest=catalog.digest,
        skipped=result.skipped,
    )
