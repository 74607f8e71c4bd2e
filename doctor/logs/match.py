"""Logs and Text signatures to findings: the only place where the two meet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from doctor.catalog import Catalog
from doctor.causes import explain
from doctor.facts import Facts, holds, whole_number
from doctor.finding import Finding, Lines, Role, Severity, is_named, stamp
from doctor.logs import collectives, last_words, unknown
from doctor.logs.attempts import attempts
from doctor.logs.block_cuts import Block, LogBlock
from doctor.logs.confirm import confirm
from doctor.logs.counting import counts_steps
from doctor.logs.evidence import MOST_EVIDENCE, different
from doctor.logs.index import Index
from doctor.logs.reader import Candidate, LogReader
from doctor.logs.records import Record, is_warning, spawned_rank
from doctor.logs.run_facts import FactReader
from doctor.logs.silence import silence_before
from doctor.logs.source import Source, blocks
from doctor.logs.squeeze import Mended, second_pass
from doctor.logs.survival import Match, MatchedLog, Survivals, survivals_of
from doctor.logs.watchdog import WaitReader
from doctor.masks import fingerprint, masked
from doctor.signature import Signature, Text
from doctor.waits import Wait

if TYPE_CHECKING:
    from doctor.points import Points


@dataclass(frozen=True, slots=True)
class LogResult:
    """What the logs of one case hold. ``size`` counts unpacked bytes; ``skipped`` says what was not looked at, and why.

    ``points`` are for one reader, who takes them out. ``counting`` are the paths of logs without any that count steps all the
    same.
    """

    findings: tuple[Finding, ...]
    facts: Facts
    waits: tuple[Wait, ...]
    points: list[Points] = field(compare=False)
    size: int
    lines: int
    skipped: tuple[tuple[str, str], ...]
    counting: tuple[str, ...] = ()


def find(
    sources: list[Source], catalog: Catalog, index: Index, on_read: Callable[[int], None], told: Facts | None = None
) -> LogResult:
    """All that the text signatures of a catalogue find in the logs of one case; LogError if one can't be read.

    ``told`` are facts from elsewhere, which those of the logs outweigh.
    """
    return find_in_blocks([(source.path, blocks(source, on_read)) for source in sources], catalog, index, told)


def find_in_text(text: str, catalog: Catalog, index: Index) -> LogResult:
    """The same for a text in memory, such as a signature's sample."""
    data = text.encode()
    return find_in_blocks([("sample", [Block(data, len(data))])], catalog, index)


def find_in_blocks(
    logs: list[tuple[str, Iterable[LogBlock]]], catalog: Catalog, index: Index, told: Facts | None = None
) -> LogResult:
    """The same for logs given as paths and blocks."""
    facts, waits, size, lines = FactReader(index.keys), WaitReader(), 0, 0
    read: list[MatchedLog] = []
    points: list[Points | None] = []
    counting: list[str] = []
    for path, pieces in logs:
        reader = LogReader(path, index, facts, waits)
        read.append(_read(reader, pieces, catalog, index))
        if (len(logs) > 1 or read[-1].records()) and not _tells_cause(read[-1]):
            read[-1].above = last_words.above_reports(reader, read[-1])
        _drop_unsilent(read[-1], b"" if len(logs) > 1 else reader.kept, index)  # other ranks may have gone on
        measured = reader.points()
        points.append(measured and measured.staged(read[-1].attempts.starts[1:]))
        if not measured and counts_steps(reader.end()):
            counting.append(path)
        size, lines = size + reader.size, lines + reader.lines
    known = {**(told or {}), **facts.facts()}
    survivals = survivals_of(read)
    skipped = {id: why for log in read for id, why in log.skipped.items()}
    exceptions = (
        _named(found, record, known, catalog, index, skipped) for found, record in _unknown_findings(survivals)
    )
    findings = [*_known_findings(survivals, known), *exceptions]
    if not any(map(_may_be_cause, findings)):
        findings += _mismatched_calls(read, waits.waits(), catalog, known)
    if not any(one.severity is Severity.ERROR for one in findings):
        findings += last_words.findings(read)
    elif not any(map(_may_be_cause, findings)):
        findings += last_words.above_finding(read, whole_number(known, "failed.rank"))
    metrics = [one for one in points if one is not None and len(one)]
    return LogResult(
        tuple(findings), known, waits.waits(), metrics, size, lines, tuple(skipped.items()), tuple(counting)
    )


def _read(reader: LogReader, pieces: Iterable[LogBlock], catalog: Catalog, index: Index) -> MatchedLog:
    log = MatchedLog(unread=reader.unread, progress=reader.progress)
    for candidate in map(_ranked, reader.read(pieces)):
        matches = list(_confirmed(candidate, catalog, index, log.skipped))
        log.matches += matches
        if candidate.record.chain and not any(_explains(match) for match in matches):
            log.unknown.append(candidate.record)
    _read_again(reader, log, catalog, index)
    log.attempts = attempts(reader.kept)
    explained = any(match.record.chain or match.signature.severity is Severity.ERROR for match in log.matches)
    if not log.unknown and not explained:
        last_words.note_end(reader, log)
    return log


def _tells_cause(log: MatchedLog) -> bool:
    known = any(_may_be_cause(match.signature) for match in log.matches)
    return known or not all(map(unknown.is_echo, log.unknown))


def _drop_unsilent(log: MatchedLog, text: bytes, index: Index) -> None:
    """Of each signature that asks for a silence keep the first match, if there was one before it, with what is known of it."""
    asking: dict[str, Match] = {}
    for match in sorted(log.matches, key=lambda match: match.record.line):
        if index.texts[match.signature.id].silence:
            asking.setdefault(match.signature.id, match)
    if asking:
        log.matches = [match for match in log.matches if match.signature.id not in asking]
        kept = (_with_silence(match, text, index.texts[id].silence) for id, match in asking.items())
        log.matches += [match for match in kept if match is not None]


def _with_silence(match: Match, text: bytes, least: float) -> Match | None:
    """A match that says how long the log was silent before it; None if that is not known, or less. Other ranks than the first
    print little while they train."""
    silence = silence_before(text, match.record.line) if text and not match.record.rank else None
    if silence is None or silence.seconds < least:
        return None
    known = {"minutes": f"{silence.seconds / 60:.0f}", "since": stamp(silence.since)[:-4]}
    return replace(match, confirmed=replace(match.confirmed, captures={**match.confirmed.captures, **known}))


def _ranked(candidate: Candidate) -> Candidate:
    """A traceback of the process that spawned the ranks belongs to the rank that it quotes."""
    rank = spawned_rank(candidate.record)
    return candidate if rank is None else replace(candidate, record=replace(candidate.record, rank=rank))


def _read_again(reader: LogReader, log: MatchedLog, catalog: Catalog, index: Index) -> None:
    """Add what line ends had broken, and drop the tracebacks that it explains."""
    found = {match.signature.id for match in log.matches}
    for one in second_pass(reader.kept, index, found, log.skipped):
        signature = catalog.signature(one.id)
        inside = [record for record in log.unknown if record.line <= one.first <= record.last_line]
        inside = [record for record in inside if signature.role is not Role.ECHO or _raises(record, one)]
        log.unknown = [record for record in log.unknown if record not in inside]
        record = inside[0] if inside else reader.placed(one.line.with_text(one.confirmed.text), one.first, one.last)
        log.matches.append(Match(signature, record, one.confirmed))


def _raises(record: Record, mended: Mended) -> bool:
    """Whether what was mended is an exception of a traceback, not words between the frames that pass another one on."""
    return any(mended.first <= raised.line <= mended.last for raised in record.chain)


def _confirmed(candidate: Candidate, catalog: Catalog, index: Index, skipped: dict[str, str]) -> Iterator[Match]:
    record = candidate.record
    for id in sorted(candidate.ids):
        try:
            confirmed = confirm(index.texts[id], record)
        except TimeoutError:
            skipped[id] = f"its pattern took too long on {record.path}:{record.line}"
            continue
        if confirmed is not None:
            yield Match(catalog.signature(id), record, confirmed)


def _may_be_cause(one: Finding | Signature) -> bool:
    """Whether it is a failure that neither reports another one nor says that ranks waited."""
    return one.severity is Severity.ERROR and one.role is not Role.ECHO and one.id not in collectives.WATCHED


def _explains(match: Match) -> bool:
    """Whether a traceback needs no other explanation: its first exception is known, or a cause in it is."""
    return match.confirmed.depth == 0 or match.signature.role is not Role.ECHO


def _mismatched_calls(
    logs: list[MatchedLog], waits: tuple[Wait, ...], catalog: Catalog, facts: Facts
) -> Iterator[Finding]:
    """Where only waits are seen: that ranks waited in different collectives, or that one had no more to run, is the cause."""
    shown = collectives.apart([match for log in logs for match in log.matches], waits, facts)
    if shown is None or collectives.ID not in catalog:
        return
    found = _finding([(replace(shown.match, signature=catalog.signature(collectives.ID)), "")], facts, 0)
    lines = (*map(str, shown.calls), *shown.more)[:MOST_EVIDENCE]
    yield replace(found, evidence=lines, ranks=tuple(call.rank for call in shown.calls))


def _known_findings(survivals: Survivals, facts: Facts) -> Iterator[Finding]:
    by_id: dict[str, list[tuple[Match, str]]] = {}
    unread: dict[str, int] = {}
    for log, survived in survivals:
        for match in log.matches:
            by_id.setdefault(match.signature.id, []).append((match, survived(match.record)))
        for id, count in log.unread.items():
            unread[id] = unread.get(id, 0) + count
    for id, matches in by_id.items():
        asked = matches[0][0].signature.match
        if not isinstance(asked, Text) or holds(asked.when, facts) is True:
            yield _finding(matches, facts, unread.get(id, 0))


def _finding(matches: list[tuple[Match, str]], facts: Facts, unread: int) -> Finding:
    """One finding for all records in which a signature matched; the first that was not survived stands for all."""
    survived = all(gone for _, gone in matches)
    shown = [match for match, gone in matches if survived or not gone]
    aside = matches[-1][1] if survived else ""
    first = _first(shown)
    signature, captures = first.signature, first.confirmed.captures
    prose = explain(signature, facts, captures)
    return Finding(
        id=signature.id,
        title=prose.title,
        severity=_severity(signature, shown, survived),
        confidence=signature.confidence,
        role=signature.role,
        place=_place(first),
        evidence=different(match.confirmed.text for match in shown),
        cause=prose.cause + aside,
        fix=prose.fix,
        config=prose.config,
        count=len(shown) + unread,
        ranks=tuple(sorted({match.record.rank for match in shown if match.record.rank is not None})),
        captures=dict(captures),
        references=signature.references,
        explains=signature.explains,
        fingerprint=fingerprint(signature.id, first.confirmed.text),
    )


def _first(shown: list[Match]) -> Match:
    """The first match by the clock; one without a time stands at that of the match above it."""
    ordered = sorted(shown, key=lambda match: (match.record.path, match.record.line))
    known: dict[str, float] = {}
    times: list[float] = []
    for record in (match.record for match in ordered):
        known[record.path] = known.get(record.path, 0.0) if record.time is None else record.time
        times.append(known[record.path])
    return ordered[times.index(min(times))]


def _severity(signature: Signature, shown: list[Match], survived: bool) -> Severity:
    """The signature's own, but an error that training went on behind is a note, one that Python only warns of a warning, and an
    exception that ended it an error."""
    if survived:
        return Severity.NOTE if signature.severity is Severity.ERROR else signature.severity
    if any(match.record.chain for match in shown):
        return Severity.ERROR
    warned = signature.severity is Severity.ERROR and all(is_warning(match.record.text) for match in shown)
    return Severity.WARNING if warned else signature.severity


def _place(match: Match) -> Lines:
    record = match.record
    return Lines(record.path, match.confirmed.line, record.last_line, record.rank, record.host, record.time)


def _unknown_findings(survivals: Survivals) -> Iterator[tuple[Finding, Record]]:
    """What no signature of its own explains, each with the record that is shown."""
    records = list[Record]()
    for log, survived in survivals:
        records += [record for record in log.unknown if not survived(record)]
    cut = [record for record in records if unknown.cut(record)]
    if cut:
        yield unknown.cut_finding(cut), cut[0]
    records = [record for record in records if not unknown.cut(record)]
    first = unknown.first_unknown(records)
    if first is not None:
        words = masked(first.chain[0].text)
        yield unknown.finding(first, [record for record in records if masked(record.chain[0].text) == words]), first


def _named(
    found: Finding, record: Record, facts: Facts, catalog: Catalog, index: Index, skipped: dict[str, str]
) -> Finding:
    """The finding of an exception that no signature knows, told by the fallback that knows its kind, if one does."""
    if found.role is Role.ECHO:
        return found
    first = replace(record, text=record.chain[0].text, chain=record.chain[:1])
    fallbacks = frozenset(id for id, text in index.texts.items() if text.fallback)
    matches = list(_confirmed(Candidate(first, fallbacks), catalog, index, skipped))
    if not matches:
        return found
    general = [pattern for match in matches for pattern in match.signature.explains]
    special = [one for one in matches if not is_named(one.signature.id, general)]
    # Who asks for a frame knows more.
    match = min(special or matches, key=lambda one: not index.texts[one.signature.id].frames)
    return replace(
        _finding([(match, "")], facts, 0),
        place=found.place,
        evidence=found.evidence,
        count=found.count,
        ranks=found.ranks,
        fingerprint=fingerprint(match.signature.id, found.fingerprint),
    )
