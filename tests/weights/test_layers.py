import pytest

from doctor.weights.layers import TensorPlace, TensorRole, is_expert_stack, place_of

R = TensorRole


@pytest.mark.parametrize(
    ("name", "place"),
    [
        (
            "model.embed_tokens.weight",
            TensorPlace(None, None, R.EMBEDDING, "model.embed_tokens.weight", "model.embed_tokens.weight"),
        ),
        (
            "model.layers.36.linear_attn.conv1d.weight",
            TensorPlace(
                36,
                None,
                R.LINEAR_ATTENTION,
                "model.layers.*.linear_attn.conv1d.weight",
                "model.layers.36.linear_attn.conv1d.weight",
            ),
        ),
        (
            "model.layers.3.mlp.experts.17.down_proj.weight",
            TensorPlace(
                3,
                17,
                R.EXPERT,
                "model.layers.*.mlp.experts.17.down_proj.weight",
                "model.layers.3.mlp.experts.*.down_proj.weight",
            ),
        ),
        (
            "mtp.layers.0.mlp.up_proj.weight",
            TensorPlace(0, None, R.MLP, "mtp.layers.*.mlp.up_proj.weight", "mtp.layers.0.mlp.up_proj.weight"),
        ),
        (
            "model.visual.blocks.5.attn.qkv.weight",
            TensorPlace(
                5, None, R.ATTENTION, "model.visual.blocks.*.attn.qkv.weight", "model.visual.blocks.5.attn.qkv.weight"
            ),
        ),
        (
            "transformer.h.2.mlp.c_fc.weight",
            TensorPlace(2, None, R.MLP, "transformer.h.*.mlp.c_fc.weight", "transformer.h.2.mlp.c_fc.weight"),
        ),
    ],
)
def test_places(name: str, place: TensorPlace) -> None:
    assert place_of(name) == place


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("lm_head.weight", R.LM_HEAD),
        ("model.layers.0.input_layernorm.weight", R.NORM),
        ("model.layers.0.linear_attn.norm.weight", R.NORM),
        ("model.layers.0.mlp.gate.weight", R.ROUTER),
        ("model.layers.0.mlp.gate_proj.weight", R.MLP),
        ("model.layers.0.mlp.shared_expert.up_proj.weight", R.EXPERT),
        ("model.layers.0.self_attn.q_proj.bias", R.ATTENTION),
        ("model.layers.0.self_attn.rotary_emb.inv_freq", R.BUFFER),
        ("model.layers.0.mlp.down_proj.weight_scale_inv", R.SCALE),
        ("model.layers.0.mlp.down_proj.qweight", R.PACKED),
        ("base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight", R.LORA_A),
        ("base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight", R.LORA_B),
        ("model.layers.0.linear_attn.A_log", R.LINEAR_ATTENTION),
        ("score.bias", R.BIAS),
        ("score.weight", R.OTHER),
    ],
)
def test_roles(name: str, role: TensorRole) -> None:
    assert place_of(name).role is role


def test_stacks_of_experts() -> None:
    assert is_expert_stack("model.layers.0.mlp.experts.gate_up_proj", (8, 64, 32))
    assert not is_expert_stack("model.layers.0.linear_attn.conv1d.weight", (64, 1, 4))
    assert not is_expert_stack("model.layers.0.mlp.experts.3.gate_proj.weight", (64, 32))
