"""Corrected configurations."""

import difflib
from pathlib import Path

import pytest

from doctor import catalog
from doctor.catalog import Catalog
from doctor.config.match import find, find_in
from doctor.config.patch import Patch, patched
from doctor.config.read import parse
from doctor.errors import ConfigError
from doctor.facts import Fact
from doctor.signature import Setting

CONFIGS = Path(__file__).parents[2] / "fixtures" / "config"
LANGUAGE_MODEL = (
    r"model.language_model.layers.[\d]+.(_checkpoint_wrapped_module.)?(mlp|self_attn).(up|down|gate|q|k|v|o)_proj"
)


@pytest.fixture(scope="module")
def signatures() -> Catalog:
    return catalog.load()


def patch_of(name: str, signatures: Catalog) -> Patch:
    result = find(CONFIGS / name, signatures, {})
    return patched(result.document, result.findings, result.facts, signatures)


def changed(name: str, patch: Patch) -> list[str]:
    """The lines that a patch takes out and adds."""
    lines = difflib.ndiff((CONFIGS / name).read_text().splitlines(), patch.text.splitlines())
    return [line for line in lines if line[0] in "+-"]


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        (
            "gemma4-26b-fsdp2-wrong-class.yaml",
            [
                "-   transformer_layer_cls_to_wrap: Gemma4DecoderLayer",
                "+   transformer_layer_cls_to_wrap: Gemma4TextDecoderLayer",
            ],
        ),
        (
            "gemma4-26b-lora-linear.yaml",
            [
                "- lora_target_linear: true  # all of them",
                "+ lora_target_linear: false # all of them",
                f"+ lora_target_modules: '{LANGUAGE_MODEL}'",
            ],
        ),
        (
            "gemma4-26b-scattermoe-incomplete.yaml",
            ["+   - axolotl.integrations.kernels.KernelsPlugin", "+ use_scattermoe: true"],
        ),
        (
            "gemma4-e2b-images-two-lines.yaml",
            [
                "- remove_unused_columns: true",
                "+ remove_unused_columns: false",
                "+ skip_prepare_dataset: true",
                "+ sample_packing: false",
            ],
        ),
        ("gemma4-26b-ddp.yaml", []),
    ],
)
def test_only_what_is_wrong_changes(name: str, changes: list[str], signatures: Catalog) -> None:
    assert changed(name, patch_of(name, signatures)) == changes


def test_json_stays_json(signatures: Catalog) -> None:
    patch = patch_of("trainer-two-precisions.json", signatures)
    assert (patch.applied, changed("trainer-two-precisions.json", patch)) == (
        ("config/trainer-two-precisions",),
        ['-   "fp16": true,', '+   "fp16": false,'],
    )


def test_an_untouched_configuration_is_the_same_text(signatures: Catalog) -> None:
    patch = patch_of("llama-misspelt.yaml", signatures)
    assert patch == Patch(
        (CONFIGS / "llama-misspelt.yaml").read_text(),
        (),
        (("config/plugin-not-loaded", "its fix isn't a setting"), ("config/unknown-key", "its fix isn't a setting")),
    )


def test_notes_change_nothing(signatures: Catalog) -> None:
    assert patch_of("gemma4-31b-reentrant.yaml", signatures).skipped == (
        ("config/gemma4-use-reentrant", "a note; nothing has to change"),
    )


def test_two_findings_that_want_different_values(signatures: Catalog) -> None:
    text = "base_model: google/gemma-4-31B\ndatasets: []\nadapter: lora\nlora_target_linear: true\nquantize_moe_experts: true\n"
    result = find_in(parse(text, "run.yaml"), signatures.of_kind(Setting), {})
    first, second = (
        one for one in result.findings if one.id in ("config/quantize-moe-experts", "vlm/lora-linear-hits-encoders")
    )
    patch = patched(result.document, [second, first, second], result.facts, signatures)
    assert patch.skipped == ()
    other = next(one for one in result.findings if one.id == second.id)
    clash = type(other)(
        **{**{name: getattr(other, name) for name in other.__slots__}, "config": "lora_target_linear: true"}
    )
    assert patched(result.document, [second, clash], result.facts, signatures).skipped == (
        (second.id, "lora_target_linear has been set for another finding; run doctor on the result"),
    )


def test_a_dump_is_not_patched(signatures: Catalog) -> None:
    with pytest.raises(
        ConfigError, match="the dump of a run can't be patched; give the file that the run was started with"
    ):
        patch_of("resolved.log", signatures)


def test_every_patch_mends_what_it_says(signatures: Catalog) -> None:
    """On the samples of all signatures: what has been applied is found no more, and nothing worse than a note is new."""
    all_ = signatures.of_kind(Setting)
    for signature in all_:
        for sample in signature.hits:
            known = {key: Fact(value) for key, value in sample.facts.items() if isinstance(value, (str, int))}
            before = find_in(parse(sample.text, "run.yaml"), all_, known)
            patch = patched(before.document, before.findings, before.facts, signatures)
            after = find_in(parse(patch.text, "run.yaml"), all_, known).findings
            assert not set(patch.applied) & {one.id for one in after}, patch.text
            assert {one.id for one in after if one.severity.value != "note"} <= {one.id for one in before.findings}
