"""Keys that axolotl drops."""

import pytest

from doctor.config.known_keys import dropped, known_keys
from doctor.config.read import facts_of, parse
from doctor.facts import Fact

BASE = "base_model: x\ndatasets:\n  - path: d\n    type: chat_template\n"
LIGER = "plugins:\n  - axolotl.integrations.liger.LigerPlugin\n"


def told(text: str, version: str = "", asked: tuple[str, ...] = ()) -> dict[str, tuple[object, int]]:
    document = parse(BASE + text, "run.yaml")
    facts = facts_of(document, {"version.axolotl": Fact(version)} if version else {})
    return {key: (fact.value, fact.line) for key, fact in dropped(document, facts, (), asked).items()}


@pytest.mark.parametrize(
    ("text", "version", "found"),
    [
        ("adapter: lora\nlora_r: 8\n", "", {}),
        ("lora_rr: 8\n", "", {"unknown_keys": ("lora_rr (line 5, perhaps lora_r)", 5)}),
        ("xyz: 1\nabc:\nqrs: []\n", "", {"unknown_keys": ("xyz (line 5), qrs (line 7)", 5)}),
        ("liger_rope: true\n", "", {"plugin_keys": ("liger_rope (line 5, LigerPlugin)", 5)}),
        (LIGER + "liger_rope: true\n", "", {}),
        ("plugins: [own.Plugin]\nanything: 1\n", "", {}),
        ("freeze_mm_modules: true\n", "", {}),
        ("freeze_mm_modules: true\n", "0.16.1", {"later_keys": ("freeze_mm_modules (line 5, since 0.17.0)", 5)}),
        ("freeze_mm_modules: true\n", "0.19.1.dev0", {}),
        ("freeze_mm_modules: true\n", "0.4.0", {"later_keys": ("freeze_mm_modules (line 5, since 0.17.0)", 5)}),
        ("normalize_weight_scales: []\n", "", {"unknown_keys": ("normalize_weight_scales (line 5)", 5)}),
        ("fsdp_config:\n  fsdp_offload_params: true\n  version: 2\n", "", {}),
        ("fsdp_config:\n  sharding: full\n", "", {}),
        ("trl:\n  use_vlm: true\n", "", {"unknown_keys": ("trl.use_vlm (line 6, perhaps trl.use_vllm)", 6)}),
        ("gradient_checkpointing_kwargs:\n  anything: true\n", "", {}),
    ],
)
def test_dropped(text: str, version: str, found: dict[str, tuple[object, int]]) -> None:
    assert told(text, version) == found


def test_members_of_lists_are_looked_up() -> None:
    text = "test_datasets:\n  - path: d\n    typ: x\n    train_on_split: train\n"
    assert told(text) == {
        "unknown_keys": ("test_datasets.0.typ (line 7, perhaps test_datasets.*.type)", 7),
        "removed_keys": ("test_datasets.0.train_on_split (line 8, last in 0.7.1)", 8),
    }


def test_keys_with_a_signature_of_their_own_are_left_out() -> None:
    assert told("normalize_weight_scales: []\n", asked=("config.normalize_weight_scales",)) == {}


def test_a_dump_has_lost_its_unknown_keys_already() -> None:
    document = parse('config:\n{\n"base_model": "x", "xyz": 1\n}\n', "run.log")
    assert dropped(document, facts_of(document, {}), (), ()) == {}


def test_no_release_has_normalize_weight_scales() -> None:
    known = known_keys()
    assert known.versions[0] == "0.5.2" and known.versions[-1] == "0.19.0"
    assert known.releases("normalize_weight_scales") == frozenset()
    assert known.releases("lora_target_linear") == frozenset(range(len(known.versions)))
