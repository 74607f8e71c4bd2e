import pytest

from doctor.signature import Scale
from doctor.weights.samples import parse_sample
from doctor.weights.shapes import SHAPES

EMBED = "model.embed_tokens.weight shape=300x64 std=0.02"
HEAD = "lm_head.weight shape=300x64 std=0.03"


def found(shape: str, text: str, pattern: str = "", kind: str = "") -> list[str]:
    return [
        member.line
        for one in SHAPES[shape](parse_sample(text), Scale(shape, pattern, "", {"kind": kind}))
        for member in one.members
    ]


@pytest.mark.parametrize(
    ("lines", "count"),
    [
        ("config tie_word_embeddings=false architectures=LlamaForCausalLM\n" + EMBED, 1),
        ("config tie_word_embeddings=false architectures=LlamaForCausalLM\n" + EMBED + "\n" + HEAD, 0),
        ("config tie_word_embeddings=true architectures=LlamaForCausalLM\n" + EMBED, 0),
        ("config architectures=LlamaForCausalLM\n" + EMBED, 0),
        ("config tie_word_embeddings=false architectures=LlamaModel\n" + EMBED, 0),
        (
            "config tie_word_embeddings=false architectures=LlamaForCausalLM\nfault missing-shard x is missing\n"
            + EMBED,
            0,
        ),
        (
            "config tie_word_embeddings=false architectures=LlamaForCausalLM\nunmeasured lm_head.weight dtype F4\n"
            + EMBED,
            0,
        ),
        ("adapter\nconfig tie_word_embeddings=false architectures=LlamaForCausalLM\n" + EMBED, 0),
    ],
)
def test_a_head_is_missed_only_where_it_must_be(lines: str, count: int) -> None:
    assert len(found("head-missing", lines)) == count


def test_a_tied_head_that_differs() -> None:
    assert found("head-untied", f"config tie_word_embeddings=true\n{EMBED}\n{HEAD}") == [
        "lm_head.weight  differs from model.embed_tokens.weight, but the config says tie_word_embeddings: true"
    ]
    assert found("head-untied", f"config tie_word_embeddings=true\n{EMBED}\n{HEAD.replace('0.03', '0.02')}") == []
    assert found("head-untied", f"config tie_word_embeddings=false\n{EMBED}\n{HEAD}") == []


def test_sizes_against_the_config() -> None:
    assert found("misfit", f"config vocab_size=302 hidden_size=64\n{EMBED}\n{HEAD}") == [
        "model.embed_tokens.weight  is 300 x 64, but the config says vocab_size: 302",
        "lm_head.weight  is 300 x 64, but the config says vocab_size: 302",
    ]
    assert found("misfit", f"config vocab_size=300 hidden_size=64\n{EMBED}\n{HEAD}") == []
    assert found("misfit", f"{EMBED}\n{HEAD}") == []


def test_layers_that_the_config_counts() -> None:
    layers = "\n".join(f"model.language_model.layers.{i}.mlp.up_proj.weight" for i in (0, 1, 3, 5))
    assert found("misfit", f"config num_hidden_layers=5\n{layers}") == [
        "num_hidden_layers: 5 in the config, but no tensor belongs to layers 2, 4"
    ]
    assert (
        found("misfit", "config num_hidden_layers=4\n" + "\n".join(f"model.layers.{i}.mlp.weight" for i in range(5)))
        == []
    )


def test_experts_that_the_config_counts() -> None:
    stack = "\n".join(f"model.layers.0.mlp.experts.down_proj expert={i}" for i in range(4))
    assert found("misfit", f"config num_experts=8\n{stack}") == [
        "model.layers.0.mlp.experts.down_proj  holds 4 experts, but the config says num_experts: 8"
    ]
    assert found("misfit", f"config num_experts=4\n{stack}") == []


def test_prefixes_and_damage() -> None:
    assert found("prefix", "module.a.weight\nmodule.b.weight", r"module\.") == ["module.a.weight  and all others"]
    assert found("prefix", "module.a.weight\nb.weight", r"module\.") == []
    faults = "fault truncated x.safetensors is cut short\nfault twice y.safetensors holds it too"
    assert found("fault", faults, kind="twice") == ["y.safetensors holds it too"]
