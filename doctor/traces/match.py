"""Series and Trace signatures to findings: the only place where the two meet."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from doctor.causes import explain
from doctor.errors import SignatureError
from doctor.facts import Facts, holds
from doctor.finding import Finding, Role, Steps, is_named
from doctor.masks import fingerprint
from doctor.points import Points
from doctor.signature import Signature, Trace
from doctor.traces.moving_shapes import spike_score
from doctor.traces.perplexity import with_losses
from doctor.traces.series import Run, Series, runs_of
from doctor.traces.shapes import SHAPES
from doctor.traces.training_setup import interval_of, setup_of
from doctor.traces.view import Answer, Limits, Seen, Undecided, View, at, shown

# Series that are not worth a line of their own in a report.
AUXILIARY = frozenset({"clock", "epoch", "nan_iterations"})
EVIDENCE_POINTS = 2


@dataclass(frozen=True, slots=True)
class TraceResult:
    """What the traces of one case hold: findings, the series themselves, and what could not be judged and why. ``unread`` are
    the sources without a metric that is known."""

    findings: tuple[Finding, ...]
    runs: tuple[Run, ...]
    skipped: tuple[tuple[str, str], ...]
    unread: tuple[Points, ...] = ()

    def summaries(self) -> tuple[Mapping[str, object], ...]:
        """The ``traces`` of a report: one entry a series of a run."""
        return tuple(_summary(one) for run in self.runs for one in run.series.values() if one.name not in AUXILIARY)


@dataclass(frozen=True, slots=True)
class _Judged:
    """One signature's answer about one run."""

    signature: Signature
    view: View
    answer: Answer


def find(sources: Iterable[Points], signatures: Sequence[Signature], facts: Facts) -> TraceResult:
    """Everything that the trace signatures find in these sources; SignatureError if one names what doesn't exist."""
    for signature in signatures:
        check(signature)
    runs = [with_losses(run) for points in sources if len(points) for run in runs_of(points, interval_of(facts))]
    judged = [one for n, run in enumerate(runs) for one in _judge(run, _neighbours(runs, n), signatures, facts)]
    findings = [_finding(one, facts) for one in judged if isinstance(one.answer, Seen)]
    return TraceResult(tuple(_ranked(findings)), tuple(runs), tuple(_skipped(judged)))


def match_sample(signature: Signature, points: Points, facts: Facts) -> tuple[Finding, ...]:
    """What one signature finds in one of its own samples."""
    return find([points], [signature], facts).findings


def check(signature: Signature) -> None:
    """SignatureError if a trace signature names an unknown shape or objective, or not exactly the limits of its shape."""
    match = _trace(signature)
    shape = SHAPES.get(match.shape)
    if shape is None:
        raise SignatureError(f'{signature.id}: trace.shape: "{match.shape}" is not one of {", ".join(SHAPES)}')
    if set(match.limits) != set(shape.limits):
        raise SignatureError(f"{signature.id}: trace.limits: {match.shape} takes exactly {', '.join(shape.limits)}")
    for key, value in match.limits.items():
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise SignatureError(f"{signature.id}: trace.limits.{key}: expected a number")


def _trace(signature: Signature) -> Trace:
    if not isinstance(signature.match, Trace):
        raise SignatureError(f"{signature.id}: not a trace signature; it has no [trace] table")
    return signature.match


def _neighbours(runs: Sequence[Run], n: int) -> Sequence[Run]:
    """The runs next to one; a log may hold thousands, so they can't all be compared with each other."""
    return [*runs[max(n - 1, 0) : n], *runs[n + 1 : n + 2]]


def _judge(run: Run, neighbours: Sequence[Run], signatures: Sequence[Signature], facts: Facts) -> list[_Judged]:
    setup = setup_of(run, facts)
    judged = []
    for signature in signatures:
        match = _trace(signature)
        if holds(match.when, facts) is not True or (match.objectives and setup.objective not in match.objectives):
            continue
        main = next((run.series[name] for name in match.series if name in run.series), None)
        if main is not None and len(main):
            view = View(main, run, setup, neighbours)
            with np.errstate(all="ignore"):  # a log may hold any numbers; what can't be computed is compared as NaN
                answer = SHAPES[match.shape].judge(view, _limits(match))
            judged.append(_Judged(signature, view, answer))
    return judged


def _limits(match: Trace) -> Limits:
    return {key: float(str(value)) for key, value in match.limits.items()}


def _finding(judged: _Judged, facts: Facts) -> Finding:
    signature, seen = judged.signature, judged.answer
    assert isinstance(seen, Seen)
    prose = explain(signature, facts, seen.captures)
    main = judged.view.main
    place = Steps(main.path, main.name, _step(main, seen.first), _step(main, seen.last), main.run)
    return Finding(
        id=signature.id,
        title=prose.title,
        severity=seen.severity or signature.severity,
        confidence=seen.confidence or signature.confidence,
        role=signature.role,
        place=place,
        evidence=_evidence(main, seen),
        cause=prose.cause,
        fix=prose.fix,
        config=prose.config,
        captures=dict(seen.captures),
        references=signature.references,
        explains=signature.explains,
        fingerprint=fingerprint(signature.id, main.name),
    )


def _step(series: Series, index: int) -> int:
    return int(series.steps[index])


def _evidence(series: Series, seen: Seen) -> tuple[str, ...]:
    """The points around the first one, each with its line where it has one."""
    around = range(max(seen.first - EVIDENCE_POINTS, 0), min(seen.first + EVIDENCE_POINTS + 1, len(series)))
    return tuple(_shown_point(series, n) for n in around)


def _shown_point(series: Series, n: int) -> str:
    where = f"  ({series.path}:{series.lines[n]})" if series.lines[n] else ""
    made = f", {series.made_from}" if series.made_from else ""
    return f"step {at(series.steps[n])}: {series.name} {shown(series.values[n])}{made}{where}"


def _ranked(findings: list[Finding]) -> list[Finding]:
    """Findings of one run that another one explains, and that are not over before it starts, become its echoes."""
    return [_explained(one, findings) for one in findings]


def _explained(finding: Finding, others: list[Finding]) -> Finding:
    for other in others:
        if other is finding or not _same_run(finding, other):
            continue
        if is_named(finding.id, other.explains) and _bounds(other)[0] <= _bounds(finding)[1]:
            return replace(finding, role=Role.ECHO, explained_by=other.id)
    return finding


def _same_run(one: Finding, other: Finding) -> bool:
    a, b = one.place, other.place
    return isinstance(a, Steps) and isinstance(b, Steps) and (a.path, a.run) == (b.path, b.run)


def _bounds(finding: Finding) -> tuple[int, int]:
    return (finding.place.first, finding.place.last) if isinstance(finding.place, Steps) else (0, 0)


def _skipped(judged: list[_Judged]) -> list[tuple[str, str]]:
    """(signature ids, why) for each reason: a trace too short to judge is not clean."""
    reasons: dict[str, list[str]] = {}
    for one in judged:
        if isinstance(one.answer, Undecided):
            reasons.setdefault(f"{one.view.main.path}: {one.answer.why}", []).append(one.signature.id)
    return [(", ".join(dict.fromkeys(ids)), why) for why, ids in reasons.items()]


def _summary(series: Series) -> Mapping[str, object]:
    finite = series.values[np.isfinite(series.values)]
    summary: dict[str, object] = {
        "name": series.name,
        "run": series.run,
        "path": series.path,
        "points": len(series),
        "first": _number(series.values[0]),
        "last": _number(series.values[-1]),
        "min": _number(finite.min()) if len(finite) else None,
        "max": _number(finite.max()) if len(finite) else None,
    }
    score = spike_score(series.values) if series.name in ("loss", "grad_norm") else None
    more = {"spike_score": score, "made_from": series.made_from or None, "not_finite": _not_finite(series)}
    return summary | {key: value for key, value in more.items() if value is not None}


def _not_finite(series: Series) -> Mapping[str, object] | None:
    """How many values are not finite, and as what the last was printed, if it is one of them; None where there are none."""
    bad = ~np.isfinite(series.values)
    return {"points": int(bad.sum()), "last": str(float(series.values[-1])) if bad[-1] else None} if bad.any() else None


def _number(value: float) -> float | None:
    """A value as strict JSON can hold it: NaN and infinity become null."""
    return float(value) if np.isfinite(value) else None
