"""Settings as facts: a configuration flattened to dotted keys, and what follows from it for model and strategy.

Used for a configuration file and for the configuration that a log prints, so both give the same facts.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath

from doctor.facts import Fact, Facts, Scalar, Value
from doctor.models import model_type, type_of

# Keys that say which model it is, in the order of trust.
MODEL_KEYS = ("base_model", "model_name_or_path", "_name_or_path")

# Attention flags of axolotl that attn_implementation replaced in 0.17, and what they stand for.
ATTENTION_FLAGS = {
    "xformers_attention": "xformers",
    "sage_attention": "sage",
    "flex_attention": "flex_attention",
    "flash_attention": "flash_attention_2",
    "sdp_attention": "sdpa",
    "eager_attention": "eager",
}
_ZERO_IN_NAME = re.compile(r"zero[_-]?([123])")


def flattened(table: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, Value]]:
    """Dotted keys and scalars; a list counts as its JSON text, a list of tables also as NUMBER.KEY, an empty table as unset."""
    for key, value in table.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from flattened(value, f"{name}.") if value else iter([(name, None)])
        elif value is None or isinstance(value, (str, int, float, bool)):
            yield name, value
        else:
            yield name, json.dumps(value, default=str)
            yield from _members(value, name)


def _members(value: object, name: str) -> Iterator[tuple[str, Value]]:
    if isinstance(value, Sequence):
        for i, member in enumerate(value):
            if isinstance(member, Mapping):
                yield from flattened(member, f"{name}.{i}.")


def derived(facts: Facts) -> Facts:
    """What follows from settings, where known: world_size, model.*, strategy, attention, fsdp.wrap_class, batch sums."""
    world = _world(facts)
    facts = {**facts, **world}
    return world | _model(facts) | _strategy(facts) | _attention(facts) | _wrap_class(facts) | _numbers(facts)


def setting(facts: Facts, key: str) -> Value:
    """The value of a setting; None where it is unset or unknown."""
    fact = facts.get(f"config.{key}")
    return None if fact is None else fact.value


def _world(facts: Facts) -> dict[str, Fact]:
    """The number of ranks, where nothing else tells it than the settings."""
    keys = ("world_size", "num_processes")
    named = next((facts[f"config.{key}"] for key in keys if _whole(setting(facts, key))), None)
    return {} if named is None or "world_size" in facts else {"world_size": named}


def _model(facts: Facts) -> dict[str, Fact]:
    """model.name, model.type (of transformers), model.class, model.multimodal and model.moe."""
    named = next((facts[f"config.{key}"] for key in MODEL_KEYS if setting(facts, key)), None)
    found = {"model.name": named} if named is not None else {}
    place = named or Fact(None)
    guess = type_of(str(place.value)) if named else None
    told = [str(setting(facts, key)) for key in ("model_config_type", "model_type")]
    known = next(filter(None, map(model_type, [*told, guess.type if guess else ""])), None)
    if known is None:
        return found
    moe = guess.moe if known.moe is None and guess and guess.type == known.name else known.moe
    enabled = setting(facts, "text_config.enable_moe_block")
    moe = moe if enabled is None else bool(enabled)
    values: dict[str, Value] = {"type": known.name, "class": known.class_name, "multimodal": known.multimodal}
    values |= {} if moe is None else {"moe": moe}
    return found | {f"model.{key}": Fact(value, place.path, place.line) for key, value in values.items()}


def _strategy(facts: Facts) -> dict[str, Fact]:
    """How the model is distributed; known to be None where a whole configuration asks for nothing but plain data parallel."""
    for find in (_deepspeed, _fsdp, _plain):
        found = find(facts)
        if found is not None:
            return {"strategy": found}
    return {"strategy": Fact(None)} if "config_format" in facts else {}


def _deepspeed(facts: Facts) -> Fact | None:
    for key in ("zero_optimization.stage", "deepspeed.zero_optimization.stage", "deepspeed_config.zero_stage"):
        if setting(facts, key) is not None:
            fact = facts[f"config.{key}"]
            return Fact(f"deepspeed-zero{fact.value}", fact.path, fact.line)
    fact = facts.get("config.deepspeed", Fact(None))
    named = _ZERO_IN_NAME.search(PurePath(str(fact.value)).name) if fact.value else None
    return Fact(f"deepspeed-zero{named[1]}", fact.path, fact.line) if named else None


def _fsdp(facts: Facts) -> Fact | None:
    """FSDP 1 unless a version says 2: axolotl and accelerate pin it so."""
    keys = [key for key, fact in facts.items() if key.startswith("config.fsdp") and fact.value not in (None, "", "[]")]
    # The Trainer fills fsdp_config in any case; axolotl takes it alone for a wish.
    filled_in = "config_format" in facts and facts["config_format"].value == "transformers"
    asked = any(key == "config.fsdp" or (key.startswith("config.fsdp_config.") and not filled_in) for key in keys)
    if not asked or setting(facts, "distributed_type") not in (None, "FSDP"):
        return None
    versions = ("fsdp_version", "fsdp_config.fsdp_version", "fsdp_config.version")
    version = next((value for key in versions if (value := setting(facts, key)) is not None), 1)
    return Fact("fsdp2" if str(version) == "2" else "fsdp", facts[keys[0]].path, facts[keys[0]].line)


def _plain(facts: Facts) -> Fact | None:
    fact = facts.get("world_size")
    if setting(facts, "deepspeed"):
        return Fact("deepspeed", facts["config.deepspeed"].path, facts["config.deepspeed"].line)
    if setting(facts, "ddp") is True or setting(facts, "distributed_type") == "MULTI_GPU":
        return Fact("ddp")
    if "config_format" in facts and fact is not None and isinstance(fact.value, int) and fact.value > 1:
        return Fact("ddp", fact.path, fact.line)
    return None


def _attention(facts: Facts) -> dict[str, Fact]:
    """The attention backend, by its new name or by the flag of old."""
    if setting(facts, "attn_implementation"):
        return {"attention": facts["config.attn_implementation"]}
    for flag, name in ATTENTION_FLAGS.items():
        if setting(facts, flag) is True:
            fact = facts[f"config.{flag}"]
            return {"attention": Fact(name, fact.path, fact.line)}
    if setting(facts, "gemma4_hybrid_attn_impl"):
        return {"attention": Fact("flash_attention_2")}
    return {"attention": Fact(None)} if "config_format" in facts else {}


def _wrap_class(facts: Facts) -> dict[str, Fact]:
    """The class that FSDP wraps: the key has lost its prefix in axolotl 0.12."""
    for key in ("fsdp_config.transformer_layer_cls_to_wrap", "fsdp_config.fsdp_transformer_layer_cls_to_wrap"):
        if setting(facts, key):
            return {"fsdp.wrap_class": facts[f"config.{key}"]}
    return {"fsdp.wrap_class": Fact(None)} if "config_format" in facts else {}


def _numbers(facts: Facts) -> dict[str, Fact]:
    """Sums that have to come out even: deepspeed.batch_excess and grpo.batch_remainder."""
    found = {}
    factors = [setting(facts, key) for key in ("train_micro_batch_size_per_gpu", "gradient_accumulation_steps")]
    world = facts["world_size"].value if "world_size" in facts else None
    total, product = _whole(setting(facts, "train_batch_size")), _product([*factors, world])
    if total and product:
        found["deepspeed.batch_excess"] = Fact(total - product)
    generations = _whole(setting(facts, "trl.num_generations"))
    batch = _whole(setting(facts, "trl.generation_batch_size")) or _product(
        [setting(facts, "micro_batch_size"), setting(facts, "gradient_accumulation_steps")]
    )
    if setting(facts, "rl") == "grpo" and generations and batch:
        found["grpo.batch_remainder"] = Fact(batch % generations)
    return found


def _product(values: Sequence[Value]) -> int | None:
    product = 1
    for value in values:
        number = _whole(value)
        if not number:
            return None
        product *= number
    return product


def _whole(value: Value) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def as_list(value: Value) -> list[Scalar]:
    """A setting that may be one value, a list (as its JSON text) or unset."""
    if value is None:
        return []
    if isinstance(value, str) and value.startswith("["):
        try:
            members = json.loads(value)
        except ValueError:
            return [value]
        if isinstance(members, list):
            return [one for one in members if isinstance(one, (str, int, float, bool))]
    return [value]
