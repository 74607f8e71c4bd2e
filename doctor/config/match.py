"""Configurations and Setting signatures to findings: the only place where the two meet."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from doctor.catalog import Catalog
from doctor.causes import explain
from doctor.config import lora
from doctor.config.known_keys import dropped
from doctor.config.linked import linked
from doctor.config.read import Document, facts_of, parse, read
from doctor.facts import Conditions, Fact, Facts, holds
from doctor.finding import Finding, Key
from doctor.masks import fingerprint
from doctor.settings import derived
from doctor.signature import Sample, Setting, Signature

SETTING = "config."
RESOLVED = Fact(value=True)


@dataclass(frozen=True, slots=True)
class ConfigResult:
    """What a configuration runs into."""

    document: Document
    findings: tuple[Finding, ...]
    facts: Facts


def find(path: Path, catalog: Catalog, known: Facts) -> ConfigResult:
    """All that the setting signatures find in a configuration file; ConfigError if it can't be read.

    ``known`` holds what the file can't tell: world_size, version.PACKAGE.
    """
    document = read(path)
    return find_in(document, catalog.of_kind(Setting), {**linked(document), **known})


def find_in_facts(facts: Facts, catalog: Catalog, seen: Collection[str]) -> tuple[Finding, ...]:
    """The same for the configuration that a log prints; facts say so by config_format.

    A signature that overlaps one of ``seen`` (ids that the log's text gave) is left out: there it has happened already.
    """
    if "config_format" not in facts:
        return ()
    signatures = [one for one in catalog.of_kind(Setting) if not set(one.overlaps) & set(seen)]
    return tuple(_findings(signatures, _enriched({**facts, "config_resolved": RESOLVED}, signatures)))


def match_sample(signature: Signature, sample: Sample) -> list[Finding]:
    """What one signature finds in a sample; ConfigError if the sample is no configuration."""
    known = {key: Fact(value) for key, value in sample.facts.items() if isinstance(value, (str, int, float, bool))}
    return list(find_in(parse(sample.text, "sample"), [signature], known).findings)


def find_in(document: Document, signatures: list[Signature], known: Facts) -> ConfigResult:
    """The same for a configuration in memory."""
    described = {SETTING + one.match.key for one in signatures if isinstance(one.match, Setting)}
    asked = {key for one in signatures for key in _asked(one)}
    read_facts = facts_of(document, known)
    read_facts = {**read_facts, **dropped(document, read_facts, described, asked)}
    facts = _enriched(read_facts, signatures)
    return ConfigResult(document, tuple(_findings(signatures, facts)), facts)


def _enriched(facts: Facts, signatures: list[Signature]) -> Facts:
    """What was read, what follows from it, and the settings that signatures ask for and that are known to be unset."""
    unset = {key: Fact(None) for one in signatures for key in _asked(one) if key.startswith(SETTING)}
    facts = {**unset, **facts}
    facts = {**facts, **derived(facts)}
    return {**facts, **lora.targets(facts)}


def _asked(signature: Signature) -> Iterator[str]:
    """The facts that a signature's match and causes test."""
    if isinstance(signature.match, Setting):
        yield from signature.match.when
        for conditions in signature.match.any:
            yield from conditions
    for cause in signature.causes:
        yield from cause.when


def _findings(signatures: list[Signature], facts: Facts) -> Iterator[Finding]:
    for signature in signatures:
        match = signature.match
        if (
            isinstance(match, Setting)
            and holds(match.when, facts)
            and not (match.unless and holds(match.unless, facts))
        ):
            held = [one for one in match.any if holds(one, facts)]
            if held or not match.any:
                yield _finding(signature, match, held, facts)


def _finding(signature: Signature, setting: Setting, held: list[Conditions], facts: Facts) -> Finding:
    shown = {name: facts.get(key, Fact(None)).value for name, key in setting.show.items()}
    captures = {name: str(value) for name, value in shown.items() if value is not None}
    prose = explain(signature, facts, captures)
    key = _key(setting, held, facts)
    place = facts.get(SETTING + key) or Fact(None)
    asked = [*setting.when, *(name for one in held for name in one), *setting.show.values()]
    return Finding(
        id=signature.id,
        title=prose.title,
        severity=signature.severity,
        confidence=signature.confidence,
        role=signature.role,
        place=Key(place.path or _path(facts), key, place.line),
        evidence=tuple(_evidence(asked, facts)),
        cause=prose.cause,
        fix=prose.fix,
        config=prose.config,
        captures=captures,
        references=signature.references,
        explains=signature.explains,
        fingerprint=fingerprint(signature.id, key),
    )


def _key(setting: Setting, held: list[Conditions], facts: Facts) -> str:
    """The setting to point at: that of the first alternative that holds, if it names one.

    Where ``key`` is no setting but a fact about keys, such as unknown_keys, it is the first of those.
    """
    names = [name for one in held for name in one if name.startswith(SETTING)]
    if names:
        return names[0].removeprefix(SETTING)
    about = facts.get(setting.key)
    return setting.key if about is None else str(about.value).split(" ", 1)[0]


def _path(facts: Facts) -> str:
    return next((fact.path for key, fact in facts.items() if key.startswith(SETTING) and fact.path), "")


def _evidence(asked: list[str], facts: Facts) -> Iterator[str]:
    """The settings that the conditions look at, as they stand in the file, each once, in the order of their lines."""
    told = {name: facts[name] for name in asked if name in facts and name.startswith(SETTING)}
    for name, fact in sorted(told.items(), key=lambda one: one[1].line):
        key = name.removeprefix(SETTING)
        yield f"{key}: {_value(fact)}" if fact.line else f"{key} is not set"


def _value(fact: Fact) -> str:
    return str(fact.value).lower() if isinstance(fact.value, bool) else "" if fact.value is None else str(fact.value)
