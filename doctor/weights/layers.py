"""Tensor names: which layer, which expert, what part it plays, and which names differ only in the layer."""

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

import regex


class TensorRole(StrEnum):
    """The part that a tensor plays in the model."""

    EMBEDDING = "embedding"
    LM_HEAD = "lm_head"
    ATTENTION = "attention"
    LINEAR_ATTENTION = "linear_attention"
    EXPERT = "expert"
    ROUTER = "router"
    MLP = "mlp"
    NORM = "norm"
    LORA_A = "lora_a"
    LORA_B = "lora_b"
    SCALE = "scale"
    PACKED = "packed"
    BUFFER = "buffer"
    BIAS = "bias"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class TensorPlace:
    """Where a tensor stands. ``group`` is its name with ``*`` for the layer, ``stack`` with ``*`` for the expert."""

    layer: int | None
    expert: int | None
    role: TensorRole
    group: str
    stack: str


EXPERT = regex.compile(r"(?<=(?:^|\.)(?:experts|local_experts)\.)\d+(?=\.|$)")
NUMBER = regex.compile(r"(?<=^|\.)\d+(?=\.|$)")

# The first that is found in the name gives the role.
ROLES: tuple[tuple[TensorRole, str], ...] = (
    (
        TensorRole.BUFFER,
        r"inv_freq|rotary|position_ids|masked_bias|\.attn\.bias$|num_batches|running_(mean|var)|position_index",
    ),
    (
        TensorRole.PACKED,
        r"qweight|qzeros|weight_packed|_blocks$|\.quant_map$|quant_state|nested_quant_map|_bitsandbytes__|weight_shape$",
    ),
    (
        TensorRole.SCALE,
        r"weight_scale|_scale_inv|(input|output|global)_scale|[kv]_scale$|[._]scales$|absmax$|\.g_idx$|\.SCB$|zero_point$",
    ),
    (TensorRole.LORA_A, r"lora_(embedding_)?A\b"),
    (TensorRole.LORA_B, r"lora_(embedding_)?B\b"),
    (TensorRole.LM_HEAD, r"(^|\.)(lm_head|embed_out|output_projection)\."),
    (
        TensorRole.EMBEDDING,
        r"embed_tokens|word_embeddings|(^|\.)(wte|wpe|(tok_|position_)?embeddings?|patch_embed\w*|embed_positions)(\.|$)",
    ),
    (TensorRole.NORM, r"norm|(^|\.)ln_\w+\."),
    (
        TensorRole.ROUTER,
        r"router|(mlp|block_sparse_moe|moe|ffn|feed_forward)\.gate\.|shared_expert_gate|e_score_correction_bias",
    ),
    (TensorRole.EXPERT, r"experts?\b|shared_experts?\."),
    (TensorRole.LINEAR_ATTENTION, r"linear_attn|(^|\.)(mixer|mamba|ssm)\.|A_log|dt_bias|conv1d"),
    (TensorRole.ATTENTION, r"attn|attention|[qkvo]_proj|qkv|query_key_value"),
    (TensorRole.MLP, r"mlp|ffn|feed_forward|(gate|up|down)_proj|fc\d|dense_\w+_\w+|(^|\.)c_(fc|proj)"),
    (TensorRole.BIAS, r"bias$"),
)
COMPILED_ROLES = tuple((role, regex.compile(pattern)) for role, pattern in ROLES)


@lru_cache(maxsize=1 << 18)
def place_of(name: str) -> TensorPlace:
    """The place of a tensor by its name. The layer is the first number that is not an expert's."""
    expert = EXPERT.search(name)
    stack = name if expert is None else f"{name[: expert.start()]}*{name[expert.end() :]}"
    layer = NUMBER.search(stack)
    return TensorPlace(
        layer=None if layer is None else int(layer[0][:9]),
        expert=None if expert is None else int(expert[0][:9]),
        role=_role(name),
        group=_starred(name, skip=expert),
        stack=stack,
    )


def _role(name: str) -> TensorRole:
    return next((role for role, pattern in COMPILED_ROLES if pattern.search(name)), TensorRole.OTHER)


def _starred(name: str, skip: "regex.Match[str] | None") -> str:
    for number in NUMBER.finditer(name):
        if skip is None or number.span() != skip.span():
            return f"{name[: number.start()]}*{name[number.end() :]}"
    return name


def is_expert_stack(name: str, shape: tuple[int, ...]) -> bool:
    """Whether the tensor holds one matrix for each expert (experts.gate_up_proj: [experts, out, in])."""
    return (
        len(shape) == 3 and shape[0] > 1 and place_of(name).role is TensorRole.EXPERT and place_of(name).expert is None
    )
