"""What a log says about its run: versions, model, world size, strategy, and the resolved configuration."""

import json
import re
from collections.abc import Iterable, Iterator
from itertools import islice

from doctor.facts import Fact, Facts, Value
from doctor.logs.prefixes import Line
from doctor.logs.records import Frame
from doctor.settings import MODEL_KEYS, derived, flattened

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
_VERSION = (
    rf"""\b(?P<package>{_NAMES})[`'"]?(?P<word>[ _](?:info: )?version)?(?: \(GPU\?\))?[`'"]?"""
    r"""(?P<sign>==|\s*[:=]\s*[`'"]?)?\s{0,40}v?(?P<version>\d+\.\d+[\w.+-]*)"""
)
_THREE_PARTS = re.compile(r"\d+\.\d+\.\d+|20\d\d\.\d+")
_INSTALLED = re.compile(rf"(?P<package>{_NAMES})-(?P<version>\d+\.\d+[\w.+]*)", re.IGNORECASE)
_PIP = "Successfully installed "
# Lines on versions that somebody else wants, had or was built for.
_NO_VERSION = re.compile(
    r"requires?\b|but you have|incompatible|install|deprecat|since|minimum|at least|[<>]=?|built |compiled |"
    r"(?:up|down)grade|needs?\b|support|compatible|expect|recommend|please|\bpin\b|older|newer|before|prior|"
    r"removed in|added in|CUDA Toolkit",
    re.IGNORECASE,
)

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
# Source files by which a traceback shows how the model is spread over the ranks.
_STRATEGIES = {
    "deepspeed-zero3": r"deepspeed/runtime/zero/(?:stage3|partition_parameters|parameter_offload)",
    "fsdp2": r"torch/distributed/(?:_composable/fsdp|fsdp/_fully_shard)/",
    "fsdp": r"torch/distributed/fsdp/",
    "ddp": r"torch/nn/parallel/distributed\.py",
}
_DISTRIBUTED = r"Distributed environment: (?:DistributedType\.)?(?P<distributed>MULTI_\w+|FSDP)"
_SETTING = r"""\b{keys}['"]?\s*[:=]\s*['"]?[\w/.-]"""
_SETTING_LINE = r"""\W{{0,24}}(?P<key>{keys})['"]?\s*[:=]\s*['"]?(?P<value>[\w/.:@+-]+)['"]?\s*,?$"""
# One of several pairs of a line that holds nothing else: `vocab_size: 400, parameters: 44192`.
_PAIR = r"[\w .-]{1,40}[:=]\s{0,4}[\w/.:@+-]{1,200}"
_PAIRS = re.compile(rf"\W{{0,24}}{_PAIR}(?:,\s{{1,4}}{_PAIR}){{1,40}},?\s*$")
_SETTING_PAIR = r"""(?:^\W{{0,24}}|,\s+)(?P<key>{keys})\s*[:=]\s*(?P<value>[\w/.:@+-]+)(?=,|\s*$)"""
# Several assignments, behind a word or not: `args: lr_scheduler_type=linear warmup_steps=20`.
_ASSIGNMENT = r"[\w.-]{1,40}=[\w/.:@+-]{1,200}"
_ASSIGNMENTS = re.compile(
    rf"\W{{0,24}}(?:[\w -]{{1,30}}:\s{{1,4}})?{_ASSIGNMENT}(?:,?\s{{1,4}}{_ASSIGNMENT}){{1,40}}\s*$"
)
_SETTING_ASSIGNED = r"""(?:^|\s)(?P<key>{keys})=(?P<value>[\w/.:@+-]+?)(?=,?\s|$)"""
# A line of metrics tells how a setting stands now, not what it was set to.
_METRICS = re.compile(r"""\b(?:loss|grad_norm|reward)['"]?\s{0,4}[:=]\s{0,4}['"]?[-+]?[\dni.]""")
_SETTING_INLINE = r"""['"](?P<key>{keys})['"]\s*:\s*['"]?(?P<value>[\w/.:@+-]+)['"]?(?=[,}}\s]|$)"""
_WORLD = r"\b(?:[Ww]orld[_ ][Ss]ize|WORLD_SIZE|[Nn]um[_ ]processes)['\"]?\s*[:=]\s*['\"]?(?P<world>\d{1,6})\b"
_TOTAL = r"\bTotal (?:optimization )?steps\s{0,4}=\s{0,4}(?P<total>\d[\d,]{0,14})"
_DEVICE = (
    r"\b(?P<device>NVIDIA (?:[AHBL]\d{2,3}|GeForce|RTX|Tesla|GH200)[\w -]{0,24}?)(?=[,;:|\"'\])]|\.\s| \(|\s{2}|$)"
)

# The lines of torchrun's failure block: `  rank      : 1 (local_rank: 1)`.
_FIELD = re.compile(r"\s*(time|host|rank|exitcode)\s+:\s+(-?[\w.:-]+)")
_ALONE = "<NO_OTHER_FAILURES>"  # all others ended with exit code 0
_FAILURE_KEYS = ("time", "host", "rank", "exitcode")

# Only reentrant checkpointing has a backward of its own in the stack.
_SHOWN_BY_FRAMES: tuple[tuple[str, str, Value], ...] = (
    (r"torch/utils/checkpoint\.py:\d+ in backward", "config.gradient_checkpointing_kwargs.use_reentrant", True),
)


def fact_patterns(keys: Iterable[str]) -> tuple[str, ...]:
    """Scan patterns for lines that may hold a fact; ``keys`` are the leaf names of the settings that signatures ask for."""
    names = _alternatives(keys)
    return (
        f"(?i){_VERSION}",
        _WORLD,
        _TOTAL,
        _PIP,
        _DISTRIBUTED,
        r"\bNVIDIA (?:[AHBL]\d{2,3}|GeForce|RTX|Tesla|GH200)",
        _SETTING.format(keys=names),
        r"\bconfig:\s*\n?\{?",
        _ALONE,
    )


def _alternatives(keys: Iterable[str]) -> str:
    leaves = {key.rsplit(".", 1)[-1] for key in keys} | {"model_type", *MODEL_KEYS}
    return f"(?:{'|'.join(sorted(map(re.escape, leaves)))})"


class FactReader:
    """Collects facts line by line. A resolved configuration outweighs single settings; otherwise the first word counts."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._keys = tuple(keys)
        self._by_leaf = {key.rsplit(".", 1)[-1]: key for key in reversed(self._keys)}
        self._line = re.compile(_SETTING_LINE.format(keys=_alternatives(self._keys)))
        self._pair = re.compile(_SETTING_PAIR.format(keys=_alternatives(self._keys)))
        self._assigned = re.compile(_SETTING_ASSIGNED.format(keys=_alternatives(self._keys)))
        self._inline = re.compile(_SETTING_INLINE.format(keys=_alternatives(self._keys)))
        self._loose: dict[str, Fact] = {}
        self._resolved: dict[str, Fact] = {}
        self._failure: dict[str, Fact] = {}

    def take_frames(self, frames: Iterable[Frame], path: str) -> None:
        """The stack of a traceback: the framework that it runs through, and what it shows of the settings."""
        stack = "\n".join(map(str, frames))
        self.take_framework(stack, path)
        for pattern, key, value in _SHOWN_BY_FRAMES:
            if re.search(pattern, stack):
                self._add(key, value, path, 0)

    def take_framework(self, text: str, path: str) -> None:
        """The start of a log, or the frames of a traceback: the first framework and strategy that they name count."""
        for key, patterns in (("framework", _FRAMEWORKS), ("strategy", _STRATEGIES)):
            if key not in self._loose:
                name = next((name for name, pattern in patterns.items() if re.search(pattern, text)), None)
                if name is not None:
                    self._add(key, name, path, 0)

    def take(self, line: Line, path: str, number: int, following: Iterator[tuple[int, Line]]) -> None:
        """A line that a pattern of fact_patterns was found in, and the lines behind it."""
        if line.text.rstrip().endswith(("config:", "config: {", "config:{")):
            self._take_config(line, path, number, following)
            return
        for package, version in _versions(line.text):
            self._add(f"version.{package}", version, path, number)
        for key, value in _singles(line.text):
            self._add(key, value, path, number)
        for setting in self._settings_of(line.text):
            self._setting(setting["key"], setting["value"], path, number)

    def _settings_of(self, text: str) -> Iterable[re.Match[str]]:
        """The settings that a line tells, be it one alone, pairs, or assignments, or quoted ones anywhere."""
        if whole := self._line.match(text):
            return [whole]
        if _METRICS.search(text):
            return ()
        if _ASSIGNMENTS.match(text):
            return self._assigned.finditer(text)
        return (self._pair if _PAIRS.match(text) else self._inline).finditer(text)

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
        if "config.world_size" in self._resolved:
            facts["world_size"] = self._resolved["config.world_size"]
        if self._resolved:
            facts = {f"config.{key}": Fact(None) for key in self._keys} | facts
        if any(f"config.{key}" in self._resolved for key in MODEL_KEYS):
            facts["config_format"] = Fact("axolotl")
        found = dict(derived(facts))
        if "strategy" in found and found["strategy"].value is None:
            del found["strategy"]  # what the log shows of it is better than that no setting asks for one
        return facts | found

    def _add(self, key: str, value: Value, path: str, line: int) -> None:
        self._loose.setdefault(key, Fact(value, path, line))

    def _setting(self, leaf: str, text: str, path: str, line: int) -> None:
        self._add(f"config.{self._by_leaf.get(leaf, leaf)}", _scalar(text), path, line)

    def _take_config(self, line: Line, path: str, number: int, following: Iterator[tuple[int, Line]]) -> None:
        for key, value in _read_config(line, following):
            self._resolved.setdefault(f"config.{key}", Fact(value, path, number))


def _versions(text: str) -> Iterator[tuple[str, str]]:
    """(distribution, version) of what a line says is installed."""
    wanted_elsewhere = _NO_VERSION.search(text)
    found = _INSTALLED.finditer(text) if text.startswith(_PIP) else re.finditer(_VERSION, text, re.IGNORECASE)
    for one in found if text.startswith(_PIP) or not wanted_elsewhere else ():
        said = one.groupdict()
        if text.startswith(_PIP) or said["word"] or said["sign"] or _THREE_PARTS.match(one["version"]):
            name = one["package"].lower()
            yield PACKAGES.get(name, name), one["version"].rstrip(".,")


def _singles(text: str) -> Iterator[tuple[str, Value]]:
    """Facts of which a line tells one."""
    patterns = (_WORLD, _TOTAL, _DEVICE, _DISTRIBUTED)
    world, total, device, distributed = (re.search(pattern, text) for pattern in patterns)
    if _ALONE in text:
        yield "failed.alone", True
    if world and not text[: world.start()].endswith("parallel "):
        yield "world_size", int(world["world"])
    if total:
        yield "total_steps", int(total["total"].replace(",", ""))
    if device:
        yield "device", device["device"].strip()
    if distributed:
        yield "strategy", "fsdp" if distributed["distributed"] == "FSDP" else "ddp"


def _read_config(line: Line, following: Iterator[tuple[int, Line]]) -> list[tuple[str, Value]]:
    """The settings of a configuration that is printed as JSON behind a line: of the stream that its first line is of."""
    body, key = ("{" if line.text.endswith("{") else ""), line.key
    for n, (_, one) in enumerate(islice(following, MOST_CONFIG_LINES)):
        if n == 0 and not one.key and one.text.startswith(("{", " ")):
            key = ()  # a logger puts its prefix before the first line only
        if one.key == key:
            body += one.text + "\n"
            if one.text.strip(" ,") == "}" and (settings := _settings(body.strip().rstrip(","))):
                return settings
    return []


def _settings(text: str) -> list[tuple[str, Value]]:
    """The settings in a JSON object, an empty list as unset; none if it is not one, or not yet whole."""
    try:
        table = json.loads(text)
        settings = flattened(table) if isinstance(table, dict) else ()
        return [(key, None if value == "[]" else value) for key, value in settings]
    except (ValueError, RecursionError):
        return []


def _scalar(text: str) -> Value:
    words = {"true": True, "false": False, "none": None, "null": None}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return int(text)
    except ValueError:
        return text
