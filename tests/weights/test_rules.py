from pathlib import Path

import pytest

from doctor.errors import CheckpointError
from doctor.signature import Scale
from doctor.weights.rules import parse_rule, read_rules, wants


def rule(pattern: str, threshold: float) -> Scale:
    return Scale("drift", pattern, "std", {"threshold": threshold, "least": 3})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"conv1d\.weight=1.5", rule(r"conv1d\.weight", 1.5)),
        (r"conv1d\.weight", rule(r"conv1d\.weight", 1.3)),
        ("a=b=2", rule("a=b", 2.0)),
    ],
)
def test_rules_of_the_command_line(text: str, expected: Scale) -> None:
    assert parse_rule(text) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("conv1d=", '"" is not a number'),
        ("conv1d=high", '"high" is not a number'),
        ("conv1d=1.0", "the threshold is a ratio above 1"),
        ("conv1d=0.5", "the threshold is a ratio above 1"),
        ("conv1d=nan", "the threshold is a ratio above 1"),
        ("conv1d=inf", "the threshold is a ratio above 1"),
        ("(conv1d=1.3", "the pattern does not compile"),
        ("=1.3", "the pattern matches every name"),
        (".*=1.3", "the pattern matches every name"),
    ],
)
def test_rules_that_can_not_work(text: str, said: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        parse_rule(text)
    assert str(caught.value).startswith(f'--rule "{text}": ')
    assert said in str(caught.value)


AXOLOTL = """
base_model: Qwen/Qwen3.5-35B-A3B
normalize_weight_scales:
  - name_pattern: 'linear_attn\\.conv1d\\.weight'
    threshold: 1.3
    dry_run: true
  - name_pattern: 'q_proj'
    threshold: 2
"""


def test_axolotl_s_block_in_its_configuration_or_alone(tmp_path: Path) -> None:
    expected = [rule(r"linear_attn\.conv1d\.weight", 1.3), rule("q_proj", 2.0)]
    path = tmp_path / "run.yaml"
    path.write_text(AXOLOTL)
    assert read_rules(path) == expected
    path.write_text(AXOLOTL.partition("normalize_weight_scales:\n")[2].replace("\n  ", "\n").removeprefix("  "))
    assert read_rules(path) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1", "no rules in it; expected normalize_weight_scales:"),
        ("- 3", "normalize_weight_scales[1]: expected name_pattern"),
        (
            "- {name_pattern: conv1d, treshold: 1.3}",
            "unknown key treshold; the keys are name_pattern, threshold and dry_run",
        ),
        ("- {name_pattern: conv1d, threshold: high}", "threshold is not a number"),
        ("- {name_pattern: conv1d, threshold: 0.9}", "the threshold is a ratio above 1"),
        ("a: [", "not valid YAML"),
        ("!!python/object/apply:os.system ['true']", "not valid YAML"),
    ],
)
def test_files_without_usable_rules(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(CheckpointError) as caught:
        read_rules(path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_wants() -> None:
    assert wants([rule("conv1d", 1.3)], "a.conv1d.weight")
    assert not wants([rule("conv1d", 1.3)], "a.weight")
