"""A configuration file to facts: axolotl YAML, TrainingArguments, DeepSpeed, accelerate, or the dump at the head of a log."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.scalarbool import ScalarBoolean
from ruamel.yaml.scalarfloat import ScalarFloat
from ruamel.yaml.scalarint import ScalarInt

from doctor.errors import ConfigError
from doctor.facts import Fact, Facts
from doctor.settings import flattened

# A hundred times what a long configuration has, and what ruamel.yaml reads in seconds.
MOST_BYTES = 512 << 10
MOST_VALUES = 10_000
DEEPEST = 300

# What tells formats apart: any of these keys at the top. The first format that has one counts.
FORMATS: tuple[tuple[str, frozenset[str]], ...] = (
    ("deepspeed", frozenset({"zero_optimization", "train_micro_batch_size_per_gpu"})),
    ("accelerate", frozenset({"compute_environment", "distributed_type"})),
    ("axolotl", frozenset({"base_model", "datasets", "pretraining_dataset", "micro_batch_size", "adapter"})),
    ("llama-factory", frozenset({"finetuning_type"})),
    ("transformers", frozenset({"output_dir", "per_device_train_batch_size"})),
)
# A line of a log in front of the resolved configuration, as axolotl prints it.
_DUMP = re.compile(r"^.*\bconfig:[ \t]*\r?\n?(?=\{)", re.MULTILINE)


_WORDS = {
    spelt: word in ("yes", "on") for word in ("yes", "no", "on", "off") for spelt in (word, word.title(), word.upper())
}
_NESTING = re.compile(rf"[\[\]{{}}]|^[ ?-]{{{DEEPEST}}}", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Document:
    """A configuration as it was read. ``lines`` maps dotted keys to lines; ``text`` is the whole file."""

    path: str
    text: str
    format: str
    table: Mapping[str, object]
    lines: Mapping[str, int]
    resolved: bool = False


def read(path: Path, *, any_format: bool = False) -> Document:
    """The configuration in a file; ConfigError, in one line, if it isn't one. ``any_format`` takes any table of keys."""
    return parse(_text(path), str(path), any_format=any_format)


def parse(text: str, path: str, *, any_format: bool = False) -> Document:
    """The configuration in a text."""
    _check_shape(text, path)
    body, first = _body(text)
    table = _mapping(body, path, first)
    _check_size(table, path)
    names = {str(key) for key in table}
    found = next((format for format, keys in FORMATS if keys & names), None)
    if found is None and not any_format:
        raise ConfigError(
            f"{path}: none of its keys belongs to a configuration that doctor knows (axolotl, TrainingArguments, DeepSpeed, "
            "accelerate); give the file that the run was started with"
        )
    lines = dict(_lines(table, "", first))
    plain = {str(key): _plain(value) for key, value in table.items()}
    return Document(path, text, found or "", plain, lines, resolved=first > 0 or "axolotl_config_path" in names)


def facts_of(document: Document, known: Facts) -> Facts:
    """The settings as facts config.KEY, the format, and the framework; ``known`` adds what the file can't tell."""
    settings = {
        f"config.{key}": Fact(value, document.path, _line(document.lines, key))
        for key, value in flattened(document.table)
    }
    told = {"config_format": Fact(document.format), "framework": Fact(document.format)}
    told |= {"config_resolved": Fact(document.resolved)}
    if document.format == "axolotl":
        told |= _installed("axolotl")
    return settings | told | dict(known)


def _text(path: Path) -> str:
    try:
        if path.is_dir():
            raise ConfigError(f"{path}: a folder; give the configuration file in it")
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as fault:
        raise ConfigError(f"{path}: can't be read: {fault.strerror}; check the path") from None
    if len(data) > MOST_BYTES:
        raise ConfigError(f"{path}: larger than {MOST_BYTES >> 10} KiB; no configuration is, so check the path")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not a text in UTF-8; give the YAML or JSON that the run was started with") from None
    if "\0" in text:
        raise ConfigError(f"{path}: a binary file; give the YAML or JSON that the run was started with")
    return text


def _body(text: str) -> tuple[str, int]:
    """The configuration in a text, and how many lines of a log stand before it."""
    dump = _DUMP.search(text)
    if dump is None:
        return text, 0
    end = re.compile(r"^\}", re.MULTILINE).search(text, dump.end())
    return text[dump.end() : end.end() if end else len(text)], text.count("\n", 0, dump.end())


def _mapping(text: str, path: str, first: int) -> CommentedMap:
    """The top table, with the lines of its keys."""
    yaml = YAML(typ="rt")
    yaml.preserve_quotes = True
    # Tabs may indent JSON, not YAML.
    text = re.sub(r"^\t+", lambda tabs: "  " * len(tabs[0]), text, flags=re.MULTILINE)
    try:
        table = yaml.load(text)
    except DuplicateKeyError as fault:
        line = (fault.problem_mark.line if fault.problem_mark else 0) + first + 1
        key = re.search(r'duplicate key "?([^"\s]+)', str(fault.problem))
        raise ConfigError(f"{path}:{line}: the key {key[1] if key else ''} stands there twice; keep one") from None
    except MarkedYAMLError as fault:
        line = (fault.problem_mark.line if fault.problem_mark else 0) + first + 1
        what = fault.problem or fault.context
        raise ConfigError(f"{path}:{line}: not valid YAML: {what}; check quotes and indentation") from None
    except (YAMLError, ValueError, RecursionError, OverflowError) as fault:
        raise ConfigError(f"{path}: not valid YAML: {str(fault).splitlines()[0]}") from None
    if not isinstance(table, CommentedMap):
        raise ConfigError(f"{path}: no configuration: the top of the file isn't a table of keys")
    return table


def _check_shape(text: str, path: str) -> None:
    """Refuse, before anything is parsed, what would take the parser's time or stack."""
    if text.count("\n") + text.count(",") > MOST_VALUES:
        raise ConfigError(f"{path}: more than {MOST_VALUES:,} values; no configuration has so many, so check the path")
    depth = 0
    for bracket in _NESTING.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(bracket[0], DEEPEST + 1)
        if depth > DEEPEST:
            line = text.count("\n", 0, bracket.start()) + 1
            raise ConfigError(f"{path}:{line}: nested more than {DEEPEST} levels deep; check the brackets")


def _check_size(node: object, path: str) -> None:
    """Refuse aliases that multiply their targets without end, or that contain themselves."""
    sizes: dict[int, int | None] = {}

    def size(part: object) -> int:
        if not isinstance(part, (Mapping, list)):
            return 1
        if id(part) not in sizes:
            sizes[id(part)] = None
            sizes[id(part)] = 1 + sum(map(size, part.values() if isinstance(part, Mapping) else part))
        known = sizes[id(part)]
        if known is None or known > MOST_VALUES:
            raise ConfigError(f"{path}: its aliases unfold to more than {MOST_VALUES:,} values; write them out instead")
        return known

    size(node)


def _plain(node: object) -> object:
    """The same without ruamel's types, scalars as PyYAML reads them: unquoted yes, no, on and off are booleans."""
    if isinstance(node, Mapping):
        return {str(key): _plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_plain(one) for one in node]
    if isinstance(node, ScalarBoolean):
        return bool(node)
    if type(node) is str and node in _WORDS:
        return _WORDS[node]
    if isinstance(node, str):
        return node.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(node, ScalarInt):
        return int(node)
    return float(node) if isinstance(node, ScalarFloat) else node


def _lines(node: object, prefix: str, first: int) -> Iterator[tuple[str, int]]:
    """Dotted keys and the lines that they stand on."""
    if isinstance(node, CommentedMap):
        for key, value in node.items():
            place = node.lc.data.get(key) if node.lc.data else None
            if place is not None:
                yield f"{prefix}{key}", int(place[0]) + first + 1
            yield from _lines(value, f"{prefix}{key}.", first)
    elif isinstance(node, CommentedSeq):
        for i, value in enumerate(node):
            yield from _lines(value, f"{prefix}{i}.", first)


def _line(lines: Mapping[str, int], key: str) -> int:
    """The line of a key, or of the nearest key above it; a merged key has no line of its own."""
    while key not in lines and "." in key:
        key = key.rpartition(".")[0]
    return lines.get(key, 0)


def _installed(package: str) -> dict[str, Fact]:
    try:
        return {f"version.{package}": Fact(metadata.version(package))}
    except metadata.PackageNotFoundError:
        return {}
