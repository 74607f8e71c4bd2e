"""What a LoRA configuration adapts: its targets held against the module names of the model's class in transformers."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import regex

from doctor.facts import Fact, Facts
from doctor.settings import as_list, setting

TIMEOUT_SECONDS = 2.0
# More layers than any model has; a pattern may name layers one by one.
LAYERS = 128
MOST_SHOWN = 3
ALL_LINEAR = "all-linear"

# Where transformers before 4.52 put the parts of a multimodal model; patterns that were written for those still count.
OLD_PREFIXES = (
    ("model.language_model.", "language_model.model."),
    ("model.vision_tower.", "vision_tower."),
    ("model.visual.", "visual."),
    ("model.language_model.", "model."),
)


@dataclass(frozen=True, slots=True)
class Modules:
    """Names in a model, with {} for indices: linear modules by part, stacked expert parameters; the classes
    of its layers, and those of all modules.
    """

    language: tuple[str, ...]
    head: tuple[str, ...]
    encoder: tuple[str, ...]
    experts: tuple[str, ...]
    layers: tuple[str, ...]
    classes: tuple[str, ...]


def modules(type_: str) -> Modules | None:
    """The modules of a model_type; None where the data doesn't cover it."""
    row = _rows().get(type_)
    parts = ("language", "head", "encoder", "experts", "layers", "classes")
    return None if row is None else Modules(*(tuple(row.get(part, ())) for part in parts))


@cache
def _rows() -> Mapping[str, Mapping[str, list[str]]]:
    table: dict[str, dict[str, dict[str, list[str]]]] = json.loads(
        Path(__file__).with_name("modules.json").read_text("utf-8")
    )
    return table["types"]


def targets(facts: Facts) -> Facts:
    """What LoRA adapts, as facts, as far as the model is known.

    lora.encoder_modules: some that it takes outside the language model; lora.missed_modules: some in the language model that
    it doesn't; lora.hits_language and lora.hits_experts: whether it takes anything there; lora.target_kind: linear, list or
    pattern; lora.pattern_fault: why the pattern is none. model.layer_class: the class of the model's layers;
    fsdp.wrap_class_fits: whether FSDP is told a class that the model has.
    """
    type_ = facts.get("model.type")
    known = modules(str(type_.value)) if type_ else None
    if known is None:
        return {}
    found = _wrapping(facts, known)
    if setting(facts, "adapter") not in ("lora", "qlora"):
        return found
    place = _place(facts)
    wanted = [str(one) for one in as_list(setting(facts, "lora_target_modules"))]
    linear = setting(facts, "lora_target_linear") is True
    if not wanted and not linear and not as_list(setting(facts, "lora_target_parameters")):
        return found
    try:
        told = _hits(facts, known, wanted, linear)
    except regex.error as fault:
        told = {"lora.pattern_fault": str(fault)}
    except TimeoutError:
        told = {"lora.pattern_fault": "it takes more than seconds to match"}
    return found | {key: Fact(value, place.path, place.line) for key, value in told.items()}


def _place(facts: Facts) -> Fact:
    keys = ("lora_target_linear", "lora_target_modules", "lora_target_parameters", "adapter")
    return next((facts[f"config.{key}"] for key in keys if setting(facts, key)), Fact(None))


def _hits(facts: Facts, known: Modules, wanted: list[str], linear: bool) -> dict[str, str | bool | None]:
    single = not _is_list(facts)
    taken = _Targets(wanted, single, linear, [str(one) for one in as_list(setting(facts, "lora_exclude_modules"))])
    language = [name for name in known.language if taken.has(name)]
    encoder = [name for name in known.encoder if taken.has(name)]
    missed = [name for name in known.language if name not in language]
    parameters = [str(one) for one in as_list(setting(facts, "lora_target_parameters"))]
    experts = any(_is_target(name, one) for name in known.experts for one in parameters)
    return {
        "lora.target_kind": "linear" if linear else "pattern" if single else "list",
        "lora.encoder_modules": _some(encoder),
        "lora.missed_modules": _some(missed),
        "lora.hits_language": bool(language),
        "lora.hits_experts": experts or any(".experts." in name for name in language),
    } | ({} if known.experts else {"lora.hits_experts": None})


def _is_list(facts: Facts) -> bool:
    """Whether the targets are a list; facts hold it as its JSON text, which a pattern may resemble."""
    value = str(setting(facts, "lora_target_modules") or "")
    return as_list(value) != [value]


def _some(names: list[str]) -> str | None:
    shown = [name.replace("{}", "N") for name in names[:MOST_SHOWN]]
    if len(names) > MOST_SHOWN:
        shown.append(f"and {len(names) - MOST_SHOWN} more")
    return ", ".join(shown) or None


@dataclass(frozen=True, slots=True)
class _Targets:
    """target_modules as PEFT reads them: one text is a pattern for the whole name, a list holds ends of names."""

    wanted: list[str]
    single: bool
    linear: bool
    excluded: list[str]

    def has(self, name: str) -> bool:
        if any(_is_target(name, one) for one in self.excluded):
            return False
        if self.linear or ALL_LINEAR in self.wanted:
            return True
        if self.single:
            return any(_matches(one, _spellings(name)) for one in self.wanted)
        return any(_is_target(name, one) for one in self.wanted)


def _is_target(name: str, target: str) -> bool:
    return name == target or name.endswith(f".{target}")


def _spellings(name: str) -> Iterator[str]:
    """A name with every index, and as older transformers had it."""
    for new, old in (("", ""), *OLD_PREFIXES):
        if name.startswith(new):
            renamed = old + name.removeprefix(new)
            yield from (renamed.replace("{}", str(i)) for i in range(LAYERS)) if "{}" in renamed else (renamed,)


def _matches(pattern: str, names: Iterable[str]) -> bool:
    """Whether a pattern fits one of the names; regex.error or TimeoutError if it is none or never ends."""
    compiled = regex.compile(pattern, cache_pattern=True)
    return any(compiled.fullmatch(name, timeout=TIMEOUT_SECONDS) for name in names)


def _wrapping(facts: Facts, known: Modules) -> dict[str, Fact]:
    """Which class FSDP has to wrap, and whether the configuration names it."""
    if not known.layers:
        return {}
    found = {"model.layer_class": Fact(", ".join(known.layers))}
    named = facts.get("fsdp.wrap_class")
    if named is not None and named.value:
        classes = {one.strip() for one in str(named.value).split(",")}
        found["fsdp.wrap_class_fits"] = Fact(bool(classes & set(known.classes)), named.path, named.line)
    return found
