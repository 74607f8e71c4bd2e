"""What follows from settings."""

import pytest

from doctor.facts import Fact, Value
from doctor.settings import as_list, derived, flattened


def told(*, whole: bool = False, **settings: Value) -> dict[str, Value]:
    facts = {f"config.{key.replace('__', '.')}": Fact(value) for key, value in settings.items()}
    if whole:
        facts["config_format"] = Fact("axolotl")
    return {key: fact.value for key, fact in derived(facts).items()}


def test_flattened() -> None:
    table = {"a": {"b": 1, "c": {}}, "d": [1, "x"], "e": [{"f": None}], "g": None}
    assert dict(flattened(table)) == {
        "a.b": 1,
        "a.c": None,
        "d": '[1, "x"]',
        "e": '[{"f": null}]',
        "e.0.f": None,
        "g": None,
    }


@pytest.mark.parametrize(
    ("settings", "strategy"),
    [
        ({"deepspeed": "deepspeed_configs/zero3_bf16.json"}, "deepspeed-zero3"),
        ({"deepspeed": "ds.json"}, "deepspeed"),
        ({"deepspeed": "ds.json", "deepspeed__zero_optimization__stage": 2}, "deepspeed-zero2"),
        ({"zero_optimization__stage": 1}, "deepspeed-zero1"),
        ({"fsdp": '["full_shard"]'}, "fsdp"),
        ({"fsdp": '["full_shard"]', "fsdp_config__fsdp_version": 2}, "fsdp2"),
        ({"fsdp_config__transformer_layer_cls_to_wrap": "X", "fsdp_version": 2}, "fsdp2"),
        ({"fsdp": "", "fsdp_config__min_num_params": None}, None),
        ({"fsdp_version": 2}, None),
        ({"ddp": True}, "ddp"),
        ({"world_size": 4, "whole": True}, "ddp"),
        ({"world_size": 4}, None),
        ({"world_size": 1}, None),
        ({"distributed_type": "MULTI_GPU"}, "ddp"),
        ({"distributed_type": "FSDP", "fsdp_config__fsdp_version": 2}, "fsdp2"),
        ({"distributed_type": "DEEPSPEED", "deepspeed_config__zero_stage": 3}, "deepspeed-zero3"),
    ],
)
def test_strategy(settings: dict[str, Value], strategy: str | None) -> None:
    assert told(**settings).get("strategy") == strategy


def test_the_trainer_fills_fsdp_config_in_any_case() -> None:
    settings = {"config.fsdp": Fact("[]"), "config.fsdp_config.min_num_params": Fact(0)}
    assert derived({**settings, "config_format": Fact("transformers")})["strategy"] == Fact(None)
    assert derived({**settings, "config_format": Fact("axolotl")})["strategy"] == Fact("fsdp")


def test_a_whole_configuration_knows_that_nothing_is_sharded() -> None:
    facts = derived({"config.base_model": Fact("x"), "config_format": Fact("axolotl")})
    assert {key: facts[key] for key in ("strategy", "attention", "fsdp.wrap_class")} == {
        "strategy": Fact(None),
        "attention": Fact(None),
        "fsdp.wrap_class": Fact(None),
    }


def test_the_model() -> None:
    assert told(base_model="google/gemma-4-26B-A4B") == {
        "model.name": "google/gemma-4-26B-A4B",
        "model.type": "gemma4",
        "model.class": "Gemma4ForConditionalGeneration",
        "model.multimodal": True,
        "model.moe": True,
    }


@pytest.mark.parametrize(
    ("settings", "moe"),
    [
        ({"base_model": "./model", "model_config_type": "gemma4"}, None),
        ({"base_model": "./model", "model_config_type": "gemma4", "text_config__enable_moe_block": True}, True),
        ({"base_model": "./model", "model_config_type": "mixtral"}, True),
        ({"base_model": "google/gemma-4-31B", "model_type": "AutoModelForCausalLM"}, False),
        ({"base_model": "google/gemma-4-31B", "model_type": "mixtral"}, True),
    ],
)
def test_experts(settings: dict[str, Value], moe: bool | None) -> None:
    assert told(**settings).get("model.moe") is moe


@pytest.mark.parametrize(
    ("settings", "attention"),
    [
        ({"attn_implementation": "sdpa", "flash_attention": True}, "sdpa"),
        ({"flash_attention": True}, "flash_attention_2"),
        ({"sage_attention": False}, None),
        ({"gemma4_hybrid_attn_impl": True}, "flash_attention_2"),
    ],
)
def test_attention(settings: dict[str, Value], attention: str | None) -> None:
    assert told(**settings).get("attention") == attention


def test_the_class_to_wrap_under_both_names() -> None:
    assert told(fsdp_config__fsdp_transformer_layer_cls_to_wrap="A")["fsdp.wrap_class"] == "A"
    assert told(fsdp_config__transformer_layer_cls_to_wrap="B")["fsdp.wrap_class"] == "B"


@pytest.mark.parametrize(
    ("settings", "remainder"),
    [
        ({"rl": "grpo", "trl__num_generations": 8, "micro_batch_size": 2, "gradient_accumulation_steps": 6}, 4),
        ({"rl": "grpo", "trl__num_generations": 8, "trl__generation_batch_size": 16, "micro_batch_size": 1}, 0),
        ({"rl": "dpo", "trl__num_generations": 8, "micro_batch_size": 2, "gradient_accumulation_steps": 6}, None),
        ({"rl": "grpo", "trl__num_generations": 8, "micro_batch_size": 2}, None),
        ({"rl": "grpo", "trl__num_generations": True, "micro_batch_size": 2, "gradient_accumulation_steps": 6}, None),
    ],
)
def test_grpo_batch(settings: dict[str, Value], remainder: int | None) -> None:
    assert told(**settings).get("grpo.batch_remainder") == remainder


def test_deepspeed_batch() -> None:
    settings = {
        "train_batch_size": 32,
        "train_micro_batch_size_per_gpu": 2,
        "gradient_accumulation_steps": 4,
        "world_size": 2,
    }
    assert told(**settings)["deepspeed.batch_excess"] == 16
    assert "deepspeed.batch_excess" not in told(**settings | {"train_batch_size": "auto"})


@pytest.mark.parametrize(
    ("value", "members"),
    [(None, []), ("a", ["a"]), ('["a", 1]', ["a", 1]), ("[ab]c", ["[ab]c"]), (3, [3]), ('[{"a": 1}]', [])],
)
def test_as_list(value: Value, members: list[Value]) -> None:
    assert as_list(value) == members
