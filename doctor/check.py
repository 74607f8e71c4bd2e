"""Signatures held to their own samples, and to those of all others."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from doctor.catalog import Catalog, SignatureFile, catalog_of
from doctor.errors import DoctorError, SignatureError
from doctor.finding import Finding, is_named
from doctor.logs.index import Index, compile_index
from doctor.logs.match import find_in_text
from doctor.logs.scan import needs_prefilter
from doctor.signature import Sample, Scale, Setting, Signature, Text, Trace, parse


@dataclass(frozen=True, slots=True)
class Remark:
    """What is wrong with a signature, or worth knowing of it, and where."""

    where: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.where}: {self.sentence}"


@dataclass(frozen=True, slots=True)
class Checked:
    """``faults`` must be mended; ``notes`` say what could be better."""

    faults: tuple[Remark, ...]
    notes: tuple[Remark, ...] = ()


def check(files: Iterable[SignatureFile], others: Catalog) -> Checked:
    """These files loaded, and run with the others on their own samples and on each other's."""
    mine = list(files)
    unparsed = tuple(_parse_faults(mine))
    if unparsed:
        return Checked(unparsed)
    catalog = catalog_of({**others.files, **{file.id: file for file in mine}}.values())
    try:
        index = compile_index(catalog)
    except SignatureError as fault:
        return Checked((_remark(fault),))
    signatures = [catalog.signature(file.id) for file in mine]
    fired = {
        signature.id: [_fired(sample.text, catalog, index) for sample in signature.hits] for signature in signatures
    }
    faults = [fault for one in signatures for fault in _sample_faults(one, fired[one.id], catalog, index)]
    return Checked(tuple(faults), tuple(note for one in signatures for note in _notes(one, fired[one.id], catalog)))


def _parse_faults(files: Iterable[SignatureFile]) -> Iterator[Remark]:
    for file in files:
        try:
            parse(file.text, file.id, file.where)
        except SignatureError as fault:
            yield _remark(fault)


def _remark(fault: SignatureError) -> Remark:
    where, _, sentence = str(fault).partition(": ")
    return Remark(where, sentence)


def _sample_faults(signature: Signature, fired: list[set[str]], catalog: Catalog, index: Index) -> Iterator[Remark]:
    where = catalog.files[signature.id].where
    matches = _matcher(signature, catalog, index)
    for n, (sample, ids) in enumerate(zip(signature.hits, fired, strict=True), 1):
        if not matches(sample):
            yield Remark(where, f"hit[{n}]: does not match; compare it with what the signature asks for")
        for other in sorted(ids - {signature.id}):
            if not _agreed(signature, catalog.signature(other)):
                yield Remark(
                    where, f"hit[{n}]: {other} fires too; narrow one, or name it in explains or in both overlaps"
                )
    for n, sample in enumerate(signature.misses, 1):
        if matches(sample):
            yield Remark(where, f"miss[{n}]: matches, but must not: {sample.why}")


def _matcher(signature: Signature, catalog: Catalog, index: Index) -> Callable[[Sample], bool]:
    """How a sample is matched depends on what the signature looks at; weights and traces are loaded only if they must be."""
    match = signature.match
    if isinstance(match, Text):
        return lambda sample: signature.id in _fired(sample.text, catalog, index)
    if isinstance(match, Scale):
        from doctor.weights.match import match_sample as match_weights

        return lambda sample: _found(lambda: match_weights(signature, sample.text))
    if isinstance(match, Trace):
        return lambda sample: _traced(signature, sample, catalog, index)
    assert isinstance(match, Setting)
    from doctor.config.match import match_sample as match_setting

    return lambda sample: _found(lambda: match_setting(signature, sample))


def _traced(signature: Signature, sample: Sample, catalog: Catalog, index: Index) -> bool:
    """Whether the metric lines of a sample match, with the settings on the lines before them as facts."""
    from doctor.traces.match import match_sample as match_trace

    result = find_in_text(sample.text, catalog, index)
    return _found(lambda: [one for points in result.points for one in match_trace(signature, points, result.facts)])


def _found(find: Callable[[], list[Finding]]) -> bool:
    """Whether a sample matches; one that can't be read matches nothing, and ``check`` says so."""
    try:
        return bool(find())
    except DoctorError:
        return False


def _fired(text: str, catalog: Catalog, index: Index) -> set[str]:
    """The text signatures that a sample makes fire."""
    return {finding.id for finding in find_in_text(text, catalog, index).findings if finding.id in catalog}


def _agreed(one: Signature, other: Signature) -> bool:
    """Whether two signatures may fire on the same sample: one explains the other, or both say so."""
    explains = is_named(other.id, one.explains) or is_named(one.id, other.explains)
    return explains or (other.id in one.overlaps and one.id in other.overlaps)


def _notes(signature: Signature, fired: list[set[str]], catalog: Catalog) -> Iterator[Remark]:
    where = catalog.files[signature.id].where
    for other in sorted(set.intersection(*fired) - {signature.id} if fired else set()):
        if not is_named(other, signature.explains):
            yield Remark(where, f"shadowed: {other} fires on all of its samples too, and is not explained by it")
    if isinstance(signature.match, Text):
        for n, pattern in enumerate(signature.match.any, 1):
            if needs_prefilter(pattern):
                yield Remark(where, f"text.any[{n}]: Hyperscan takes it only through a prefilter, which costs speed")


def coverage(signatures: Iterable[str], reports: Iterable[Iterable[Finding]]) -> dict[str, int]:
    """In how many logs each signature is found."""
    counts = dict.fromkeys(signatures, 0)
    for findings in reports:
        for id in {finding.id for finding in findings} & counts.keys():
            counts[id] += 1
    return counts
