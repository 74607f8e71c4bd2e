"""What a log says about its run: versions, model, world size, strategy, and the resolved configuration."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

from doctor.facts import Fact, Facts, Value
from doctor.logs.prefixes import Line

MOST_CONFIG_LINES = 1500

PACKAGES = {
    "pytorch": "torch",
    "flash_attn": "flash-attn",
    "flash-attention": "flash-attn",
    "llama-factory": "llamafactory",
    "ms_swift": "ms-swift",
    "swift": "ms-swift",
}
_NAMES = (
    r"torch|pytorch|transformers|peft|trl|accelerate|axolotl|deepspeed|datasets|bitsandbytes|flash[_-]attn|flash-attention|vllm|"
    r"unsloth|nccl|xformers|triton|numpy|tokenizers|llamafactory|llama-factory|ms[_-]swift|megatron-core|lightning|"
    r"safetensors|cuda"
)
_VERSION = rf"""\b(?P<package>{_NAMES})[`'"]?(?:==|(?: version)?[`'"]?\s*[:=]\s*[`'"]?| version )v?(?P<version>\d+\.\d+[\w.+-]*)"""
_NO_VERSION = re.compile(r"requires?\b|but you have|incompatible|install|deprecat|since|minimum|at least|[<>]=?")

_FRAMEWORKS = {
    "axolotl": r"\[axolotl\.\w+|axolotl/cli/\w+\.py",
    "llama-factory": r"llamafactory/\w+|LLaMA-Factory/src",
    "ms-swift": r"/swift/(?:llm|cli)/\w+",
    "torchtune": r"torchtune[./](?:recipes|training|utils)",
    "torchtitan": r"\btorchtitan[./]\w+|\[titan\]",
    "verl": r"/verl/(?:trainer|workers|single_controller)/",
    "megatron": r"megatron/(?:core|training)/\w+",
    "nemo": r"nemo/(?:lightning|collections)/\w+",
    "unsloth": r"unsloth(?:_zoo)?/\w+\.py|Unsloth: ",
    "trl": r"/trl/trainer/\w+\.py",
    "transformers": r"/transformers/trainer\.py",
}
_SETTING = r"""\b{keys}['"]?\s*[:=]\s*['"]?[\w/.-]"""
_SETTING_LINE = r"""\W{{0,24}}(?P<key>{keys})['"]?\s*[:=]\s*['"]?(?P<value>[\w/.:@+-]+)['"]?\s*,?$"""
_WORLD = r"\b(?:world[_ ]size|[Nn]um[_ ]processes)['\"]?\s*[:=]\s*(?P<world>\d+)\b"
_DEVICE = r"\b(?P<device>NVIDIA (?:[AHBL]\d{2,3}|GeForce|RTX|Tesla|GH200)[\w -]{0,24}?)(?=[,;:|\"'\])]|\s{2}|$)"

# The lines of torchrun's failure block: `  rank      : 1 (local_rank: 1)`.
_FIELD = re.compile(r"\s*(time|host|rank|exitcode)\s+:\s+(-?[\w.:-]+)")
_FAILURE_KEYS = ("time", "host", "rank", "exitcode")

# Keys that say which model it is, in the order of trust.
_MODEL_KEYS = ("base_model", "model_name_or_path", "_name_or_path")


def fact_patterns(keys: Iterable[str]) -> tuple[str, ...]:
    """Scan patterns for lines that may hold a fact; ``keys`` are the leaf names of the settings that signatures ask for."""
    names = _alternatives(keys)
    return (
        f"(?i){_VERSION}",
        _WORLD,
        r"\bNVIDIA (?:[AHBL]\d{2,3}|GeForce|RTX|Tesla|GH200)",
        _SETTING.format(keys=names),
        r"\bconfig:\s*\n?\{?",
    )


def framework_patterns() -> tuple[str, ...]:
    """Scan patterns of which each names a framework."""
    return tuple(_FRAMEWORKS.values())


def _alternatives(keys: Iterable[str]) -> str:
    leaves = {key.rsplit(".", 1)[-1] for key in keys} | {"model_type", *_MODEL_KEYS}
    return f"(?:{'|'.join(sorted(map(re.escape, leaves)))})"


class FactReader:
    """Collects facts line by line. A resolved configuration outweighs single settings; otherwise the first word counts."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._keys = tuple(keys)
        self._by_leaf = {key.rsplit(".", 1)[-1]: key for key in reversed(self._keys)}
        self._line = re.compile(_SETTING_LINE.format(keys=_alternatives(self._keys)))
        self._loose: dict[str, Fact] = {}
        self._resolved: dict[str, Fact] = {}
        self._failure: dict[str, Fact] = {}

    def take_framework(self, number: int, path: str, line: int) -> None:
        """Pattern ``number`` of framework_patterns was found."""
        self._add("framework", list(_FRAMEWORKS)[number], path, line)

    def take(self, line: Line, path: str, number: int, following: Iterator[tuple[int, Line]]) -> None:
        """A line that a pattern of fact_patterns was found in, and the lines behind it."""
        if line.text.rstrip().endswith(("config:", "config: {", "config:{")):
            self._take_config(line, path, number, following)
            return
        for found in re.finditer(_VERSION, line.text, re.IGNORECASE):
            if not _NO_VERSION.search(line.text):
                name = found["package"].lower()
                self._add(f"version.{PACKAGES.get(name, name)}", found["version"].rstrip(".,"), path, number)
        for pattern, key in ((_WORLD, "world_size"), (_DEVICE, "device")):
            value = re.search(pattern, line.text)
            if value:
                self._add(key, int(value[1]) if key == "world_size" else value[1].strip(), path, number)
        setting = self._line.match(line.text)
        if setting:
            self._setting(setting["key"], setting["value"], path, number)

    def take_failure(self, path: str, number: int, following: Iterator[tuple[int, Line]]) -> None:
        """torchrun's block on the first failure that it saw on its node; over several nodes the earliest counts."""
        fields = (_FIELD.match(line.text) for _, line in islice(following, 8))
        said = {field[1]: field[2] for field in fields if field}
        failure = {f"failed.{key}": Fact(_scalar(said[key]), path, number) for key in _FAILURE_KEYS if key in said}
        known = self._failure.get("failed.time")
        if known is None or ("time" in said and str(said["time"]) < str(known.value)):
            self._failure = failure

    def facts(self) -> Facts:
        """All that is known; with a resolved configuration, settings that it lacks are known to be unset."""
        facts = self._loose | self._failure | self._resolved
        if self._resolved:
            facts = {f"config.{key}": Fact(None) for key in self._keys} | facts
        return facts | _derived(facts)

    def _add(self, key: str, value: Value, path: str, line: int) -> None:
        self._loose.setdefault(key, Fact(value, path, line))

    def _setting(self, leaf: str, text: str, path: str, line: int) -> None:
        self._add(f"config.{self._by_leaf.get(leaf, leaf)}", _scalar(text), path, line)

    def _take_config(self, line: Line, path: str, number: int, following: Iterator[tuple[int, Line]]) -> None:
        body = "{" if line.text.endswith("{") else ""
        for _, one in islice(following, MOST_CONFIG_LINES):
            if one.key != line.key:
                continue
            body += one.text + "\n"
            if one.text in ("}", "},"):
                break
        for key, value in _flattened(_json(body)):
            self._resolved.setdefault(f"config.{key}", Fact(value, path, number))


def _json(text: str) -> Mapping[str, object]:
    try:
        table = json.loads(text)
    except ValueError:
        return {}
    return table if isinstance(table, dict) else {}


def _flattened(table: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, Value]]:
    """Dotted keys and scalars; a list of scalars counts as its text."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flattened(value, f"{prefix}{key}.")
        elif value is None or isinstance(value, (str, int, float, bool)):
            yield f"{prefix}{key}", value
        else:
            yield f"{prefix}{key}", json.dumps(value)


def _scalar(text: str) -> Value:
    words = {"true": True, "false": False, "none": None, "null": None}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return int(text)
    except ValueError:
        return text


def _derived(facts: Facts) -> dict[str, Fact]:
    """Facts that follow from settings: the model, its type, and the strategy."""
    found: dict[str, Fact] = {}
    for source in (f"config.{key}" for key in _MODEL_KEYS):
        if source in facts and facts[source].value:
            found.setdefault("model.name", facts[source])
    for source in ("config.model_type", "config.model_config_type"):
        if source in facts and facts[source].value:
            found["model.type"] = facts[source]
    strategy = _strategy(facts)
    return found | ({"strategy": strategy} if strategy else {})


def _strategy(facts: Facts) -> Fact | None:
    def value(key: str) -> Value:
        return facts[key].value if key in facts else None

    deepspeed, stage = str(value("config.deepspeed") or ""), value("config.zero_optimization.stage")
    named = re.search(r"zero[_-]?([123])", deepspeed)
    if named or stage:
        return Fact(f"deepspeed-zero{named[1] if named else stage}")
    if value("config.fsdp") or value("config.fsdp_config.fsdp_version") or value("config.fsdp_version"):
        version = value("config.fsdp_version") or value("config.fsdp_config.fsdp_version")
        return Fact("fsdp2" if version == 2 else "fsdp")
    return None
