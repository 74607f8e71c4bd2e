"""What names and types say about models."""

import pytest

from doctor.models import ModelType, model_type, type_of


@pytest.mark.parametrize(
    ("name", "type_", "moe"),
    [
        ("google/gemma-4-26B-A4B", "gemma4", True),
        ("google/gemma-4-31B", "gemma4", False),
        ("google/gemma-4-E2B-it", "gemma4", False),
        ("/data/models/nvidia/Gemma-4-26B-A4B-NVFP4/", "gemma4", True),
        (r"C:\models\gemma-3-12b-it", "gemma3", None),
        ("google/gemma-3-1b-it", "gemma3_text", None),
        ("google/gemma-3n-E2B-it", "gemma3n", None),
        ("Qwen/Qwen3.5-35B-A3B", "qwen3_5_moe", None),
        ("Qwen/Qwen3.5-9B", "qwen3_5", None),
        ("Qwen/Qwen3-VL-30B-A3B-Instruct", "qwen3_vl_moe", None),
        ("Qwen/Qwen3-30B-A3B-Instruct-2507", "qwen3_moe", None),
        ("Qwen/Qwen2.5-VL-7B-Instruct", "qwen2_5_vl", None),
        ("meta-llama/Llama-3.2-11B-Vision-Instruct", "mllama", None),
        ("meta-llama/Llama-3.2-3B", "llama", None),
    ],
)
def test_names(name: str, type_: str, moe: bool | None) -> None:
    found = type_of(name)
    assert found is not None and model_type(found.type) is not None
    assert (found.type, found.moe) == (type_, moe)


@pytest.mark.parametrize(
    "name", ["", "gpt2", "my-model", "deepseek-ai/DeepSeek-R1-Distill-Llama-8B", "gemma-3-12b-it/adapters/run"]
)
def test_names_that_say_nothing(name: str) -> None:
    assert type_of(name) is None


def test_types() -> None:
    assert model_type("gemma4") == ModelType("gemma4", "Gemma4ForConditionalGeneration", multimodal=True, moe=None)
    assert model_type("mixtral") == ModelType("mixtral", "MixtralForCausalLM", multimodal=False, moe=True)
    assert model_type("AutoModelForCausalLM") is None
