"""Configurations against all setting signatures: what each runs into, and where."""

import json
from pathlib import Path

import pytest

from doctor import catalog
from doctor.catalog import Catalog
from doctor.config.match import find, find_in, find_in_facts, match_sample
from doctor.config.read import parse
from doctor.facts import Fact
from doctor.finding import Key, Severity
from doctor.signature import Setting

CONFIGS = Path(__file__).parents[2] / "fixtures" / "config"

# Every configuration of fixtures/config with all that is found in it: id, severity, key, line (0 where it is not set).
EXPECTED: dict[str, list[tuple[str, str, str, int]]] = {
    "accelerate-ddp.yaml": [],
    "accelerate-fsdp2.yaml": [],
    "gemma3-12b-ddp-full-defaults.yaml": [
        ("config/freeze-mm-modules", "note", "freeze_mm_modules", 0),
        ("config/gemma3-use-reentrant", "warning", "gradient_checkpointing_kwargs.use_reentrant", 0),
        ("vlm/gemma3-settings", "error", "ddp_find_unused_parameters", 0),
    ],
    "gemma3-12b-ddp-full.yaml": [],
    "gemma3-12b-lora-list.yaml": [
        ("config/lora-list-hits-encoders", "note", "lora_target_modules", 17),
    ],
    "gemma3-12b-lora-loose-pattern.yaml": [
        ("config/lora-pattern-hits-encoders", "warning", "lora_target_modules", 17),
    ],
    "gemma4-26b-ddp-offloading-find-unused.yaml": [
        ("config/gemma4-find-unused-offloading", "error", "ddp_find_unused_parameters", 37),
    ],
    "gemma4-26b-ddp-offloading.yaml": [],
    "gemma4-26b-ddp.yaml": [],
    "gemma4-26b-fsdp1.yaml": [
        ("vlm/gemma4-fsdp1-qlora-oom", "error", "fsdp_version", 35),
    ],
    "gemma4-26b-fsdp2-no-class.yaml": [
        ("config/gemma4-fsdp-wrap-unset", "error", "fsdp_config.transformer_layer_cls_to_wrap", 0),
    ],
    "gemma4-26b-fsdp2-offloading.yaml": [],
    "gemma4-26b-fsdp2-wrong-class.yaml": [
        ("config/fsdp-wrap-class", "error", "fsdp_config.transformer_layer_cls_to_wrap", 38),
    ],
    "gemma4-26b-fsdp2.yaml": [],
    "gemma4-26b-lora-linear.yaml": [
        ("config/lora-misses-experts", "note", "lora_target_parameters", 0),
        ("vlm/lora-linear-hits-encoders", "warning", "lora_target_linear", 18),
    ],
    "gemma4-26b-scattermoe-incomplete.yaml": [
        ("config/scattermoe-incomplete", "warning", "experts_implementation", 5),
    ],
    "gemma4-31b-full-not-frozen.yaml": [
        ("vlm/gemma4-freeze-mm-modules", "warning", "freeze_mm_modules", 0),
    ],
    "gemma4-31b-full.yaml": [],
    "gemma4-31b-reentrant.yaml": [
        ("config/gemma4-use-reentrant", "note", "gradient_checkpointing_kwargs.use_reentrant", 17),
    ],
    "gemma4-e2b-images-two-lines.yaml": [
        ("config/gemma4-e2b-loss", "note", "base_model", 1),
        ("vlm/config-four-lines", "error", "skip_prepare_dataset", 0),
    ],
    "gemma4-e2b-images.yaml": [
        ("config/gemma4-e2b-loss", "note", "base_model", 1),
    ],
    "llama-cross-entropy-no-plugin.yaml": [
        ("config/cce-without-plugin", "warning", "cut_cross_entropy", 2),
    ],
    "llama-dpo-packed.yaml": [
        ("config/rl-packing", "error", "sample_packing", 3),
    ],
    "llama-lora.yaml": [],
    "llama-misspelt.yaml": [
        ("config/plugin-not-loaded", "warning", "liger_rope", 18),
        ("config/unknown-key", "warning", "lora_target_linaer", 16),
    ],
    "llama-qlora-16bit.yaml": [
        ("config/quantization-keys", "error", "load_in_4bit", 12),
    ],
    "llama-stream.yaml": [
        ("config/stream-max-steps", "error", "pretraining_dataset", 2),
    ],
    "llama-two-cross-entropies.yaml": [
        ("config/one-ce-optimization", "error", "cut_cross_entropy", 5),
    ],
    "llama-two-schedules.yaml": [
        ("config/schedule-keys", "error", "eval_strategy", 12),
    ],
    "mixtral-full.yaml": [
        ("config/moe-weight-drift", "note", "adapter", 0),
    ],
    "qwen35-35b-normalize.yaml": [
        ("config/lora-misses-experts", "note", "lora_target_parameters", 0),
        ("config/moe-weight-drift", "note", "base_model", 1),
        ("config/normalize-weight-scales", "warning", "normalize_weight_scales", 22),
    ],
    "qwen35-35b-qlora.yaml": [
        ("config/moe-weight-drift", "note", "base_model", 1),
    ],
    "resolved.log": [
        ("vlm/gemma4-freeze-mm-modules", "warning", "freeze_mm_modules", 0),
    ],
    "trainer-best-model.json": [
        ("config/best-model-strategy", "error", "eval_strategy", 54),
    ],
    "trainer-two-precisions.json": [
        ("config/trainer-two-precisions", "error", "bf16", 21),
    ],
    "trainer.json": [],
}


@pytest.fixture(scope="module")
def signatures() -> Catalog:
    return catalog.load()


def test_all_configurations_are_expected() -> None:
    assert {path.name for path in CONFIGS.iterdir()} - {"verdicts.json"} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_configuration(name: str, signatures: Catalog) -> None:
    path = CONFIGS / name
    found = find(path, signatures, {}).findings
    places = [one.place for one in found]
    assert all(isinstance(place, Key) and place.path == str(path) for place in places)
    assert [(one.id, one.severity.value, one.place.key, one.place.line) for one in found] == EXPECTED[name]


def test_axolotl_agrees(signatures: Catalog) -> None:
    """What axolotl's own schema refuses is an error here too."""
    refused = json.loads((CONFIGS / "verdicts.json").read_text())["refused"]
    for name, sentence in refused.items():
        if sentence is not None:
            found = find(CONFIGS / f"{name}.yaml", signatures, {}).findings
            assert Severity.ERROR in {one.severity for one in found}, f"{name}: {sentence}"


def test_samples(signatures: Catalog) -> None:
    for signature in signatures.of_kind(Setting):
        for sample in signature.hits:
            assert [one.id for one in match_sample(signature, sample)] == [signature.id], sample.text
        for sample in signature.misses:
            assert match_sample(signature, sample) == [], sample.why


def test_a_finding_in_full(signatures: Catalog) -> None:
    (found,) = find(CONFIGS / "gemma4-26b-fsdp2-wrong-class.yaml", signatures, {}).findings
    assert (found.title, found.evidence, found.cause, found.fix, found.config, found.captures) == (
        "FSDP is told to wrap a class that this model does not have",
        ("fsdp_config.transformer_layer_cls_to_wrap: Gemma4DecoderLayer",),
        "The layers of this model are Gemma4TextDecoderLayer, not Gemma4DecoderLayer.",
        "Name the model's own layer class.",
        "fsdp_config:\n  transformer_layer_cls_to_wrap: Gemma4TextDecoderLayer",
        {"wanted": "Gemma4TextDecoderLayer", "given": "Gemma4DecoderLayer"},
    )


def test_world_size_decides_what_only_ddp_runs_into(signatures: Catalog) -> None:
    text = (
        "base_model: google/gemma-3-12b-it\ndatasets:\n  - path: d\n"
        "ddp_find_unused_parameters: true\ngradient_checkpointing: true\n"
    )
    all_ = signatures.of_kind(Setting)
    found = [find_in(parse(text, "run.yaml"), all_, {"world_size": Fact(n)}).findings for n in (1, 8)]
    assert [[one.id for one in each] for each in found] == [[], ["config/gemma3-use-reentrant"]]


def log_facts(**settings: str | bool | float) -> dict[str, Fact]:
    facts = {f"config.{key}": Fact(value, "run.log", 7) for key, value in settings.items()}
    return facts | {"framework": Fact("axolotl"), "config_format": Fact("axolotl")}


def test_the_configuration_of_a_log(signatures: Catalog) -> None:
    facts = log_facts(base_model="mistralai/Mixtral-8x7B-v0.1", datasets="[]", adapter="lora", use_scattermoe=True)
    (found,) = find_in_facts(facts, signatures, ())
    assert (found.id, found.place) == ("config/scattermoe-incomplete", Key("run.log", "use_scattermoe", 7))


def test_what_the_log_says_itself_is_not_said_again(signatures: Catalog) -> None:
    facts = log_facts(base_model="mistralai/Mixtral-8x7B-v0.1", datasets="[]", adapter="lora", use_scattermoe=True)
    assert find_in_facts(facts, signatures, {"moe/scattermoe-not-applied"}) == ()


def test_single_settings_of_a_log_are_not_enough(signatures: Catalog) -> None:
    facts = log_facts(use_scattermoe=True)
    del facts["config_format"]
    assert find_in_facts(facts, signatures, ()) == ()


def test_what_a_run_fills_in_itself_is_no_contradiction(signatures: Catalog) -> None:
    """axolotl prints its configuration after it has derived batch_size, eval_steps and save_steps from other keys."""
    settings = {
        "batch_size": 8,
        "micro_batch_size": 2,
        "gradient_accumulation_steps": 4,
        "evals_per_epoch": 4,
        "eval_steps": 0.25,
    }
    text = "".join(
        f"{key}: {value}\n" for key, value in {"base_model": "gpt2", "datasets": "[{path: d}]", **settings}.items()
    )
    document = parse(text, "run.yaml")
    written = find_in(document, signatures.of_kind(Setting), {}).findings
    assert {one.id for one in written} == {"config/batch-size-keys", "config/schedule-keys"}
    assert find_in_facts(log_facts(base_model="gpt2", datasets="[]", **settings), signatures, ()) == ()
