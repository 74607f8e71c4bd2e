"""Signature: one failure mode as data. ``parse`` turns a TOML file into it and refuses what can't work."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import regex

from doctor.facts import Conditions, Scalar, parse_conditions
from doctor.finding import Confidence, Role, Severity
from doctor.toml_table import TomlTable, parse_toml

TITLE_WIDTH = 72


@dataclass(frozen=True, slots=True)
class Text:
    """Matches a record of a log: one of ``any``, none of ``none``, and a stack frame by one of ``frames`` if there are any.

    With ``silence``, the log must have been silent for so many seconds before it; ``when`` holds conditions on facts.
    """

    any: tuple[str, ...]
    none: tuple[str, ...] = ()
    frames: tuple[str, ...] = ()
    silence: float = 0.0
    when: Conditions = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trace:
    """Matches a metric series: the name of a shape, and its limits.

    The first of ``series`` that a run has is judged. ``objectives`` are those of which the shape means something (all, if
    empty); ``when`` holds conditions on facts.
    """

    shape: str
    series: tuple[str, ...]
    limits: Mapping[str, object]
    objectives: tuple[str, ...] = ()
    when: Conditions = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Scale:
    """Matches a checkpoint: the name of a shape, its limits, and what it looks at.

    ``pattern`` is searched in tensor names and is empty for all tensors. ``statistic`` is empty where the shape implies it.
    ``limits`` holds every limit of the shape, those that the file leaves out at their defaults.
    """

    shape: str
    pattern: str = ""
    statistic: str = ""
    limits: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Setting:
    """Matches a configuration: conditions on facts, and the dotted key to point at.

    If ``any`` has members, one of them must hold too, and the first setting that it names is the key to point at. Where
    ``unless`` is known to hold, nothing matches. ``show`` maps the names that the prose may use in braces to facts.
    """

    key: str
    when: Conditions
    any: tuple[Conditions, ...] = ()
    unless: Conditions = field(default_factory=dict)
    show: Mapping[str, str] = field(default_factory=dict)


Match = Text | Trace | Scale | Setting

SCALE_STATISTICS = ("std", "rms", "absmax")


@dataclass(frozen=True, slots=True)
class ScaleShape:
    """What a shape of [scale] takes: whether it compares a statistic, and its limits with their defaults."""

    compares: bool = False
    limits: Mapping[str, Scalar] = field(default_factory=dict)


SCALE_SHAPES: Mapping[str, ScaleShape] = {
    "nonfinite": ScaleShape(),
    "drift": ScaleShape(compares=True, limits={"threshold": 1.3, "least": 3}),
    "outlier": ScaleShape(compares=True, limits={"z": 8.0, "ratio": 2.5, "least": 8, "edge": 2}),
    "expert-outlier": ScaleShape(compares=True, limits={"z": 10.0, "ratio": 2.0, "least": 8}),
    "dead": ScaleShape(),
    "dead-expert": ScaleShape(),
    "duplicate": ScaleShape(limits={"least": 1024}),
    "untrained": ScaleShape(limits={"least_share": 1.0, "most_share": 1.0}),
    "head-missing": ScaleShape(),
    "head-untied": ScaleShape(),
    "misfit": ScaleShape(),
    "prefix": ScaleShape(),
    "unmeasured": ScaleShape(),
    "fault": ScaleShape(limits={"kind": ""}),
    "base-same": ScaleShape(),
    "base-ratio": ScaleShape(compares=True, limits={"ratio": 2.0}),
}
SCALE_CAPTURES = frozenset({"tensor", "file", "count", "of", "layers", "worst", "centre"})


@dataclass(frozen=True, slots=True)
class Cause:
    """Why it happens and what to change; ``when`` is empty for the cause that is left when nothing else is known."""

    text: str
    fix: str
    config: str
    when: Conditions
    fixed_in: str


@dataclass(frozen=True, slots=True)
class Sample:
    """A piece of input that must match (a hit) or must not (a miss, with the reason why).

    ``facts`` are those that a configuration can't tell itself: versions, the number of ranks.
    """

    text: str
    why: str = ""
    facts: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RaisedBy:
    """The distribution that prints the message, and a piece of it as it stands in that distribution's files."""

    package: str
    literal: str


@dataclass(frozen=True, slots=True)
class Signature:
    """One failure mode. ``id`` is FAMILY/NAME, as the file lies in its folder."""

    id: str
    title: str
    severity: Severity
    confidence: Confidence
    role: Role
    match: Match
    causes: tuple[Cause, ...]
    hits: tuple[Sample, ...]
    misses: tuple[Sample, ...]
    explains: tuple[str, ...]
    overlaps: tuple[str, ...]
    raised_by: tuple[RaisedBy, ...]
    references: tuple[str, ...]


def parse(text: str, id: str, where: str) -> Signature:
    """A signature from the text of its file; raises SignatureError with the file, the key and the remedy."""
    table = parse_toml(text, where)
    match = _match(table)
    signature = Signature(
        id=id,
        title=_title(table),
        severity=Severity(table.choice("severity", Severity)),
        confidence=Confidence(table.choice("confidence", Confidence, default=Confidence.HIGH)),
        role=Role(table.choice("role", Role, default=Role.EITHER)),
        match=match,
        causes=_causes(table),
        hits=tuple(_hit(one) for one in table.tables("hit", least=1)),
        misses=tuple(_miss(one) for one in table.tables("miss", least=1)),
        explains=table.texts("explains"),
        overlaps=table.texts("overlaps"),
        raised_by=tuple(_raised_by(one) for one in table.tables("raised_by")),
        references=table.texts("references"),
    )
    table.done()
    _check_placeholders(signature, table)
    return signature


def _title(table: TomlTable) -> str:
    title = table.text("title")
    if len(title) > TITLE_WIDTH:
        table.fail("title", f"{len(title)} characters; {TITLE_WIDTH} fit on one line of a report")
    return title


def _match(table: TomlTable) -> Match:
    parsers: dict[str, Callable[[TomlTable], Match]] = {
        "text": _text,
        "trace": _trace,
        "scale": _scale,
        "setting": _setting,
    }
    tables = {name: table.table(name) for name in parsers}
    matches = [parsers[name](found) for name, found in tables.items() if found is not None]
    if len(matches) != 1:
        table.fail("", f"expected exactly one of [text], [trace], [scale] and [setting], found {len(matches)}")
    return matches[0]


def _text(table: TomlTable) -> Text:
    patterns = (table.texts("any", required=True), table.texts("none"), table.texts("frames"))
    match = Text(*patterns, silence=table.seconds("silence"), when=_conditions(table))
    table.done()
    for key in ("any", "none", "frames"):
        for i, pattern in enumerate(getattr(match, key), 1):
            _check_pattern(table, f"{key}[{i}]", pattern)
    return match


def _trace(table: TomlTable) -> Trace:
    match = Trace(
        shape=table.text("shape"),
        series=table.texts("series", required=True),
        limits=table.mapping("limits") or {},
        objectives=table.texts("objectives"),
        when=_conditions(table),
    )
    table.done()
    return match


def _scale(table: TomlTable) -> Scale:
    name = table.choice("shape", SCALE_SHAPES)
    shape = SCALE_SHAPES[name]
    pattern = table.text("pattern", default="")
    if pattern:
        _check_pattern(table, "pattern", pattern)
    statistic = table.choice("statistic", SCALE_STATISTICS) if shape.compares else ""
    match = Scale(name, pattern, statistic, _scale_limits(table, name))
    table.done()
    return match


def _scale_limits(table: TomlTable, name: str) -> Mapping[str, Scalar]:
    """The limits of a shape: each of the kind of its default, which stands for those that are left out."""
    defaults = SCALE_SHAPES[name].limits
    given = table.mapping("limits") or {}
    limits = dict(defaults)
    for key, value in given.items():
        if key not in defaults:
            known = f"the limits are {', '.join(defaults)}" if defaults else "it takes none"
            table.fail(f"limits.{key}", f'the shape "{name}" has no such limit; {known}')
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if isinstance(value, str) is not isinstance(defaults[key], str) or not (isinstance(value, str) or is_number):
            table.fail(f"limits.{key}", f"expected {'a text' if isinstance(defaults[key], str) else 'a number'}")
        limits[key] = value  # type: ignore[assignment]
    return limits


def _setting(table: TomlTable) -> Setting:
    match = Setting(table.text("key"), _conditions(table), _alternatives(table), _exceptions(table), _shown(table))
    table.done()
    if not match.when and not match.any:
        table.fail("when", "missing; without conditions the signature would match every configuration")
    return match


def _alternatives(table: TomlTable) -> tuple[Conditions, ...]:
    tables = table.mappings("any")
    return tuple(parse_conditions(one, table.place(f"any[{i}]")) for i, one in enumerate(tables, 1))


def _exceptions(table: TomlTable) -> Conditions:
    return parse_conditions(table.mapping("unless") or {}, table.place("unless"))


def _shown(table: TomlTable) -> Mapping[str, str]:
    names = table.mapping("show") or {}
    for name, fact in names.items():
        if not isinstance(fact, str) or not PLACEHOLDER.fullmatch(f"{{{name}}}"):
            table.fail("show", 'expected names of lower-case letters and facts, { modules = "lora.encoder_modules" }')
    return {name: str(fact) for name, fact in names.items()}


def _conditions(table: TomlTable) -> Conditions:
    return parse_conditions(table.mapping("when") or {}, table.place("when"))


def _causes(table: TomlTable) -> tuple[Cause, ...]:
    tables = table.tables("cause", least=1)
    causes = tuple(_cause(one) for one in tables)
    if causes[-1].when:
        tables[-1].fail(
            "when", "the last cause is the one that is left when nothing is known; it can't have conditions"
        )
    for one, cause in zip(tables[:-1], causes, strict=False):
        if not cause.when:
            one.fail(
                "when", "missing; only the last cause can do without conditions, all after it would never be shown"
            )
    return causes


def _cause(table: TomlTable) -> Cause:
    cause = Cause(
        text=table.text("text"),
        fix=table.text("fix"),
        config=table.text("config", default=""),
        when=_conditions(table),
        fixed_in=_fixed_in(table),
    )
    table.done()
    return cause


def _fixed_in(table: TomlTable) -> str:
    text = table.text("fixed_in", default="")
    if not text:
        return ""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        if not Requirement(text).specifier:
            raise InvalidRequirement
    except InvalidRequirement:
        table.fail("fixed_in", f'"{text}" names no release; write a requirement such as "axolotl>=0.9"')
    return text


def _hit(table: TomlTable) -> Sample:
    sample = Sample(table.text("text"), facts=table.mapping("facts") or {})
    table.done()
    return sample


def _miss(table: TomlTable) -> Sample:
    sample = Sample(table.text("text"), why=table.text("why"), facts=table.mapping("facts") or {})
    table.done()
    return sample


def _raised_by(table: TomlTable) -> RaisedBy:
    raised_by = RaisedBy(table.text("package"), table.text("literal"))
    table.done()
    return raised_by


def _check_pattern(table: TomlTable, key: str, pattern: str) -> None:
    try:
        compiled = regex.compile(pattern)
    except (regex.error, OverflowError, RecursionError) as fault:
        table.fail(
            key, f"the pattern does not compile: {fault}; escape ( ) [ ] {{ }} . * + ? if they are meant literally"
        )
    if compiled.search(""):
        table.fail(key, "the pattern matches the empty text, so it would match everywhere; give it a literal")


def _check_placeholders(signature: Signature, table: TomlTable) -> None:
    """Every {name} in the prose must be captured by a pattern, as far as any pattern captures at all."""
    captured = capture_names(signature.match)
    prose = {f"cause[{i}].{key}": getattr(one, key) for i, one in enumerate(signature.causes, 1) for key in PROSE}
    for key, text in {"title": signature.title, **prose}.items():
        for name in PLACEHOLDER.findall(text):
            if name not in captured:
                table.fail(key, f"{{{name}}} is captured by no pattern; add (?P<{name}>...) or take it out")


PROSE = ("text", "fix", "config")
PLACEHOLDER = regex.compile(r"(?<![{$])\{([a-z_]+)\}(?!\})")


# What shapes tell of what they saw.
TRACE_CAPTURES = frozenset([
    "accumulation", "after", "again", "before", "best", "best_step", "chosen", "epoch", "factor", "family",
    "first_step", "last_good_step", "last_step", "lead", "learning_rate", "loss", "metric", "metric_before",
    "metric_value", "of_what", "other", "own", "per_thousand_steps", "percent", "points", "prediction", "rank",
    "recovered", "rose", "seen", "signs", "start_step", "total", "uniform", "usual", "value", "vocabulary", "wanted",
    "warmup", "what",
])  # fmt: skip

# What every text signature knows of the innermost stack frame: where it is, and the installed package it is in.
FRAME_CAPTURES = frozenset({"frame", "package"})
# What a text signature with a silence knows of it.
SILENCE_CAPTURES = frozenset({"minutes", "since"})


def capture_names(match: Match) -> frozenset[str]:
    """The names that a match may capture from its input."""
    if isinstance(match, Text):
        silence = SILENCE_CAPTURES if match.silence else frozenset[str]()
        return (FRAME_CAPTURES | silence).union(*(regex.compile(pattern).groupindex for pattern in match.any))
    if isinstance(match, Setting):
        return frozenset(match.show)
    if isinstance(match, Trace):
        return TRACE_CAPTURES
    return SCALE_CAPTURES if isinstance(match, Scale) else frozenset()
