"""Keys that axolotl drops without a word: its schema refuses nothing, so a misspelt key looks like one that works.

The keys of every release are data, made from the releases' own schemas.
"""

import json
import re
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from doctor.config.read import Document
from doctor.facts import Fact, Facts
from doctor.settings import as_list, setting

# Keys whose misspelling is looked up by hand in reports: the closest known key must be this close.
CLOSE = 0.8
_SET = Fact("")
_NUMBER = re.compile(r"(?<=\.)\d+(?=\.|$)")


@dataclass(frozen=True, slots=True)
class KnownKeys:
    """The releases in order; every key with the numbers of the releases that take it; the same for each plugin."""

    versions: tuple[str, ...]
    keys: Mapping[str, frozenset[int]]
    plugins: Mapping[str, Mapping[str, frozenset[int]]]

    def releases(self, key: str) -> frozenset[int]:
        """The releases that take a dotted key without any plugin: itself, or anything below one of its parents."""
        found = self.keys.get(key, frozenset())
        while "." in key:
            key = key.rpartition(".")[0]
            found |= self.keys.get(f"{key}.**", frozenset())
        return found

    def is_opaque(self, key: str, release: int) -> bool:
        """Whether nothing is known of what may stand below a key, in a release that takes the key itself."""
        return not any(one.startswith(f"{key}.") for one, taken in self.keys.items() if release in taken)

    def plugin(self, key: str, release: int) -> str | None:
        """The plugin that a key belongs to."""
        return next((name for name, keys in self.plugins.items() if release in keys.get(key, frozenset())), None)


@cache
def known_keys() -> KnownKeys:
    """The keys of all releases that the data covers."""
    table = json.loads(Path(__file__).with_name("known_keys.json").read_text("utf-8"))
    return KnownKeys(
        tuple(table["versions"]),
        _numbers(table["keys"]),
        {name: _numbers(keys) for name, keys in table["plugins"].items()},
    )


def _numbers(spans: Mapping[str, str]) -> dict[str, frozenset[int]]:
    return {key: frozenset(_spread(text)) for key, text in spans.items()}


def _spread(text: str) -> Iterator[int]:
    for span in text.split(","):
        first, _, last = span.partition("-")
        yield from range(int(first), int(last) + 1)


def dropped(document: Document, facts: Facts, described: Container[str], asked: Container[str]) -> Facts:
    """The keys of an axolotl configuration that its release drops, as facts.

    unknown_keys: those that no release takes (any release, if the version is unknown); plugin_keys: those of plugins that
    ``plugins`` doesn't list; later_keys and removed_keys: those that other releases take. Facts in ``described`` have a
    signature of their own and are left out; those that signatures merely ask for (``asked``) are left out where no other
    release or plugin takes them. Nothing is said where a plugin is not axolotl's own: it may take any key.
    """
    if document.format != "axolotl" or document.resolved:
        return {}
    known, loaded = known_keys(), {str(one).rsplit(".", 1)[-1] for one in as_list(setting(facts, "plugins"))}
    if loaded - set(known.plugins):
        return {}
    version = facts.get("version.axolotl")
    release = _release(known, None if version is None else str(version.value))
    told: dict[str, Container[str]] = {"plugin_keys": described, "unknown_keys": asked, "removed_keys": asked}
    found: dict[str, list[str]] = {}
    for key in _checked(document, facts, known, release):
        kind = _kind(known, key, release, loaded, named=version is not None)
        if kind and f"config.{key}" not in told.get(kind, ()):
            found.setdefault(kind, []).append(key)
    return {kind: _fact(document, kind, keys, known, release) for kind, keys in found.items()}


def _release(known: KnownKeys, version: str | None) -> int:
    """The newest release that is not newer than a version; the newest of all where there is none."""
    from packaging.version import InvalidVersion, Version

    try:
        wanted = Version(version or known.versions[-1])
    except InvalidVersion:
        return len(known.versions) - 1
    older = [i for i, one in enumerate(known.versions) if Version(one) <= wanted]
    return older[-1] if older else 0


def _checked(document: Document, facts: Facts, known: KnownKeys, release: int) -> Iterator[str]:
    """The keys to look up: all at the top, and those below the ones that have a schema of their own; none that is unset."""
    for line_key in document.lines:
        key = _NUMBER.sub("*", line_key)
        parent = key.rpartition(".")[0]
        if facts.get(f"config.{line_key}", _SET).value is None:
            continue
        if not parent or (known.releases(parent.removesuffix(".*")) and not known.is_opaque(parent, release)):
            yield line_key


def _kind(known: KnownKeys, line_key: str, release: int, loaded: Iterable[str], *, named: bool) -> str | None:
    key = _NUMBER.sub("*", line_key)
    taken = known.releases(key)
    if release in taken:
        return None
    plugin = known.plugin(key, release)
    if plugin is not None:
        return None if plugin in loaded else "plugin_keys"
    if taken and key not in known.keys:
        return None  # older releases took anything there
    if taken:
        return ("later_keys" if min(taken) > release else "removed_keys") if named or max(taken) < release else None
    return "unknown_keys"


def _fact(document: Document, kind: str, keys: list[str], known: KnownKeys, release: int) -> Fact:
    said = [f"{key} (line {document.lines[key]}{_hint(kind, key, known, release)})" for key in keys]
    return Fact(", ".join(said), document.path, document.lines[keys[0]])


def _hint(kind: str, line_key: str, known: KnownKeys, release: int) -> str:
    key = _NUMBER.sub("*", line_key)
    if kind == "plugin_keys":
        return f", {known.plugin(key, release)}"
    if kind == "later_keys":
        return f", since {known.versions[min(known.releases(key))]}"
    if kind == "removed_keys":
        return f", last in {known.versions[max(known.releases(key))]}"
    names = [one for one, taken in known.keys.items() if release in taken and "*" not in one.replace("*.", "")]
    near = get_close_matches(key, names, n=1, cutoff=CLOSE)
    return f", perhaps {near[0]}" if near else ""
