"""LoRA targets against module names."""

import pytest

from doctor.config.lora import modules, targets
from doctor.facts import Fact, Value

GEMMA = r"model.language_model.layers.[\d]+.(_checkpoint_wrapped_module.)?(mlp|self_attn).(up|down|gate|q|k|v|o)_proj"


def told(type_: str, **settings: Value) -> dict[str, Value]:
    facts = {f"config.{key}": Fact(value) for key, value in {"adapter": "lora", **settings}.items()}
    return {key: fact.value for key, fact in targets({**facts, "model.type": Fact(type_)}).items()}


def test_the_reference_pattern_stays_in_the_language_model() -> None:
    assert told("gemma4", lora_target_modules=GEMMA) == {
        "model.layer_class": "Gemma4TextDecoderLayer",
        "lora.target_kind": "pattern",
        "lora.encoder_modules": None,
        "lora.missed_modules": "model.language_model.layers.N.per_layer_input_gate, "
        "model.language_model.layers.N.per_layer_projection, model.language_model.layers.N.router.proj, and 1 more",
        "lora.hits_language": True,
        "lora.hits_experts": False,
    }


@pytest.mark.parametrize("type_", ["gemma3", "gemma4", "qwen3_5", "qwen3_5_moe", "llava", "mistral3"])
def test_all_linear_modules_include_encoders(type_: str) -> None:
    assert str(told(type_, lora_target_linear=True)["lora.encoder_modules"]).startswith("model.")


@pytest.mark.parametrize(
    ("modules", "kind", "encoder"),
    [
        (
            '["q_proj", "v_proj"]',
            "list",
            "model.vision_tower.encoder.layers.N.self_attn.q_proj, model.vision_tower.encoder.layers.N.self_attn.v_proj",
        ),
        (r".*language.*(q|v)_proj", "pattern", None),
        ("[qv]_proj", "pattern", None),
    ],
)
def test_lists_hold_ends_and_patterns_whole_names(modules: str, kind: str, encoder: str | None) -> None:
    found = told("gemma3", lora_target_modules=modules)
    assert (found["lora.target_kind"], found["lora.encoder_modules"]) == (kind, encoder)


def test_a_pattern_that_misses_the_start_hits_nothing() -> None:
    assert told("gemma3", lora_target_modules="self_attn.q_proj")["lora.hits_language"] is False


def test_names_of_older_transformers_count() -> None:
    assert (
        told("llava", lora_target_modules=r"language_model.model.layers.[\d]+.self_attn.q_proj")["lora.hits_language"]
        is True
    )


def test_single_layers_count() -> None:
    assert (
        told("gemma3", lora_target_modules=r"model\.language_model\.layers\.(11|23)\.mlp\.up_proj")[
            "lora.hits_language"
        ]
        is True
    )


def test_excluded_modules_are_left_out() -> None:
    found = told(
        "gemma3",
        lora_target_modules='["q_proj", "fc1"]',
        lora_exclude_modules='["fc1", "vision_tower.encoder.layers.0.self_attn.q_proj"]',
    )
    assert found["lora.encoder_modules"] == "model.vision_tower.encoder.layers.N.self_attn.q_proj"


def test_experts_are_parameters() -> None:
    found = told("qwen3_5_moe", lora_target_modules='["q_proj"]', lora_target_parameters='["mlp.experts.down_proj"]')
    assert (found["lora.hits_experts"], found["lora.hits_language"]) == (True, True)
    assert told("qwen3_5_moe", lora_target_linear=True)["lora.hits_experts"] is False
    assert told("gemma3", lora_target_linear=True)["lora.hits_experts"] is None


def test_a_broken_pattern_is_a_fact() -> None:
    assert told("gemma3", lora_target_modules="model.(q|v")["lora.pattern_fault"] == "missing ) at position 10"


def test_a_pattern_that_never_ends_is_a_fact() -> None:
    found = told("gemma3", lora_target_modules=r"((((.+)+)+)+)+\d{3}!")
    assert found.get("lora.pattern_fault") in ("it takes more than seconds to match", None)


@pytest.mark.parametrize("settings", [{"adapter": None, "lora_target_linear": True}, {"lora_target_modules": None}])
def test_nothing_is_said_without_lora(settings: dict[str, Value]) -> None:
    assert [key for key in told("gemma3", **settings) if key.startswith("lora.")] == []


def test_unknown_models_say_nothing() -> None:
    assert told("no_such_type", lora_target_linear=True) == {}


def test_the_data_of_the_reference() -> None:
    """Gemma 4 has its experts as parameters of each layer; Qwen3.5 mixes DeltaNet and full attention."""
    gemma, qwen = modules("gemma4"), modules("qwen3_5_moe")
    assert gemma is not None and qwen is not None
    assert gemma.experts == (
        "model.language_model.layers.{}.experts.down_proj",
        "model.language_model.layers.{}.experts.gate_up_proj",
    )
    assert "Gemma4TextDecoderLayer" in gemma.classes and "Gemma4DecoderLayer" not in gemma.classes
    assert not [name for name in gemma.classes if "SparseMoeBlock" in name]
    assert {
        "model.language_model.layers.{}.linear_attn.out_proj",
        "model.language_model.layers.{}.self_attn.q_proj",
    } <= set(qwen.language)
