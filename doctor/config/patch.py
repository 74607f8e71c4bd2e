"""Findings to the corrected configuration: their snippets merged into the file, its comments and its order kept."""

import io
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError

from doctor.catalog import Catalog
from doctor.causes import possible_causes
from doctor.config.read import Document
from doctor.errors import ConfigError
from doctor.facts import Facts
from doctor.finding import Finding, Severity

WIDTH = 4096


@dataclass(frozen=True, slots=True)
class Patch:
    """The corrected text; the ids of the findings that it answers; those that it leaves, and why."""

    text: str
    applied: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...]


def patched(document: Document, findings: Iterable[Finding], facts: Facts, catalog: Catalog) -> Patch:
    """The configuration with the snippets of its findings merged in.

    Tables are merged, lists get the members that they lack, other values are replaced, and null unsets a key that is there.
    Notes change nothing. ConfigError if the configuration was cut out of a log.
    """
    if document.resolved:
        raise ConfigError(
            f"{document.path}: the dump of a run can't be patched; give the file that the run was started with"
        )
    table = _load(document.text, document.path)
    applied, skipped, changed = list[str](), list[tuple[str, str]](), dict[str, object]()
    for finding in findings:
        why = _obstacle(finding, facts, catalog)
        changes = {} if why else dict(_flat(_snippet(finding), ""))
        taken = [key for key, value in changes.items() if key in changed and changed[key] != value]
        why = why or (f"{taken[0]} has been set for another finding; run doctor on the result" if taken else "")
        if why:
            skipped.append((finding.id, why))
            continue
        _merge(table, _snippet(finding))
        changed |= changes
        applied.append(finding.id)
    return Patch(_dump(table, document.text) if applied else document.text, tuple(applied), tuple(skipped))


def _obstacle(finding: Finding, facts: Facts, catalog: Catalog) -> str:
    """Why a finding can't be answered by a patch; empty if it can."""
    if finding.severity is Severity.NOTE:
        return "a note; nothing has to change"
    if not finding.config:
        return "its fix isn't a setting"
    if len(possible_causes(catalog.signature(finding.id).causes, facts)) > 1:
        return "the configuration doesn't decide between its causes"
    return ""


def _snippet(finding: Finding) -> CommentedMap:
    table = _yaml().load(finding.config)
    return table if isinstance(table, CommentedMap) else CommentedMap()


def _flat(table: CommentedMap, prefix: str) -> Iterable[tuple[str, object]]:
    for key, value in table.items():
        if isinstance(value, CommentedMap):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _merge(table: dict[str, object], changes: Mapping[str, object]) -> None:
    for key, value in changes.items():
        there = table.get(key)
        if isinstance(value, dict) and isinstance(there, dict):
            _merge(there, value)
        elif isinstance(value, list) and isinstance(there, list):
            there.extend(one for one in value if one not in there)
        elif value is not None or key in table:
            table[key] = value


def _yaml() -> YAML:
    yaml = YAML(typ="rt")
    yaml.preserve_quotes = True
    yaml.width = WIDTH
    return yaml


def _load(text: str, path: str) -> dict[str, object]:
    try:
        table = json.loads(text) if _is_json(text) else _yaml().load(text)
    except (YAMLError, ValueError) as fault:
        raise ConfigError(f"{path}: can't be patched: {str(fault).splitlines()[0]}") from None
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: can't be patched: the top of the file isn't a table of keys")
    return table


def _is_json(text: str) -> bool:
    return text.lstrip().startswith("{")


def _dump(table: dict[str, object], like: str) -> str:
    """The table as text, in the manner of the text that it was read from."""
    if _is_json(like):
        tab = re.search(r"^([ \t]+)\S", like, re.MULTILINE)
        return json.dumps(table, indent=tab[1] if tab else None, ensure_ascii=False) + (
            "\n" if like.endswith("\n") else ""
        )
    yaml, out = _yaml(), io.StringIO()
    if _indents_lists(like):
        yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.explicit_start = like.startswith("---")
    yaml.dump(table, out)
    return out.getvalue()


def _indents_lists(text: str) -> bool:
    """Whether members of lists stand deeper than the key of the list, judged by the first one."""
    first = re.search(r"^( *)[\w.]+:[ \t]*(?:#.*)?\n(?:[ \t]*(?:#.*)?\n)*( *)- ", text, re.MULTILINE)
    return first is not None and len(first[2]) > len(first[1])
