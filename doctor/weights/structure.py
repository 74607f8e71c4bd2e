"""Shapes about what a checkpoint holds rather than how large its numbers are: heads, sizes, names, damage."""

from collections.abc import Iterator
from pathlib import Path

import regex

from doctor.signature import Scale
from doctor.weights.layers import TensorRole
from doctor.weights.measure import Measured
from doctor.weights.observation import Found, Member, Observation, member

EMBEDDING = regex.compile(r"^(?:module\.)?(?:model\.)?(?:language_model\.)?(?:model\.)?embed_tokens\.weight$")
LAYER = regex.compile(r"^(?:module\.)?(?:model\.)?(?:language_model\.)?(?:model\.)?layers\.(\d{1,6})\.")
EXPERT_COUNTS = ("num_experts", "num_local_experts", "n_routed_experts")
GENERATES = ("ForCausalLM", "ForConditionalGeneration")


def head_missing(observation: Observation, _: Scale) -> list[Found]:
    """A causal language model with untied embeddings whose output matrix is not in the checkpoint."""
    embedding = _embedding(observation)
    if embedding is None or _tied(observation) is not False or not observation.is_whole or not _generates(observation):
        return []
    names = {
        *(tensor.name for tensor in observation.tensors),
        *(one.name for one in observation.unmeasured),
        *observation.aliases,
    }
    if any("lm_head" in name or "embed_out" in name or name.endswith("output.weight") for name in names):
        return []
    return [
        Found((member(embedding, "is there; no lm_head.weight is, and the config says tie_word_embeddings: false"),), 1)
    ]


def head_untied(observation: Observation, _: Scale) -> list[Found]:
    """An output matrix that differs from the embeddings although the config ties the two."""
    embedding = _embedding(observation)
    head = next(
        (
            tensor
            for tensor in observation.tensors
            if tensor.role is TensorRole.LM_HEAD and tensor.name.endswith("weight")
        ),
        None,
    )
    if embedding is None or head is None or _tied(observation) is not True or observation.is_adapter:
        return []
    if head.moments == embedding.moments:
        return []
    return [Found((member(head, f"differs from {embedding.name}, but the config says tie_word_embeddings: true"),), 1)]


def _tied(observation: Observation) -> bool | None:
    for config in (observation.config, observation.text_config):
        tied = config.get("tie_word_embeddings")
        if isinstance(tied, bool):
            return tied
    return None


def _generates(observation: Observation) -> bool:
    architectures = observation.config.get("architectures")
    return isinstance(architectures, list) and any(str(one).endswith(GENERATES) for one in architectures)


def _embedding(observation: Observation) -> Measured | None:
    return next((tensor for tensor in observation.tensors if EMBEDDING.search(tensor.name)), None)


def misfit(observation: Observation, _: Scale) -> list[Found]:
    """Tensors whose sizes are not those of the config, and layers that it counts but no tensor belongs to."""
    if observation.is_adapter or not observation.config:
        return []
    members = (*_embedding_misfit(observation), *_missing_layers(observation), *_expert_misfit(observation))
    return [Found(members, len(observation.tensors))] if members else []


def _size(observation: Observation, *keys: str) -> tuple[str, int] | None:
    for key in keys:
        value = observation.text_config.get(key)
        if type(value) is int:
            return key, value
    return None


def _embedding_misfit(observation: Observation) -> Iterator[Member]:
    heads = [
        tensor for tensor in observation.tensors if tensor.name.removeprefix("language_model.") == "lm_head.weight"
    ]
    embedding = _embedding(observation)
    for tensor in (*((embedding,) if embedding else ()), *heads):
        for axis, keys in enumerate((("vocab_size",), ("hidden_size",))):
            said = _size(observation, *keys)
            if said and tensor.is_weight and len(tensor.shape) == 2 and tensor.shape[axis] != said[1]:
                yield member(tensor, f"is {_by(tensor.shape)}, but the config says {said[0]}: {said[1]}")


def _missing_layers(observation: Observation) -> Iterator[Member]:
    said = _size(observation, "num_hidden_layers")
    names = [tensor.name for tensor in observation.tensors] + [one.name for one in observation.unmeasured]
    held = {int(found[1]) for name in names if (found := LAYER.search(name))}
    if not said or not held or not observation.is_whole:
        return
    missing = sorted(set(range(min(said[1], 100_000))) - held)
    if missing:
        which = ", ".join(map(str, missing[:8])) + (", ..." if len(missing) > 8 else "")
        layers = "layers" if len(missing) > 1 else "layer"
        line = f"{said[0]}: {said[1]} in the config, but no tensor belongs to {layers} {which}"
        yield Member(observation.tensors[0].file, "", line)


def _expert_misfit(observation: Observation) -> Iterator[Member]:
    said = _size(observation, *EXPERT_COUNTS)
    for tensor in observation.tensors:
        if said and tensor.experts and LAYER.search(tensor.name) and len(tensor.experts) != said[1]:
            yield member(tensor, f"holds {len(tensor.experts)} experts, but the config says {said[0]}: {said[1]}")


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def prefix(observation: Observation, scale: Scale) -> list[Found]:
    """Every name begins with what a wrapper (DDP, torch.compile) puts in front, so that no bare model loads them."""
    pattern = regex.compile(scale.pattern)
    if not observation.tensors or not all(pattern.match(tensor.name) for tensor in observation.tensors):
        return []
    return [Found((member(observation.tensors[0], "and all others"),), len(observation.tensors))]


def unmeasured(observation: Observation, _: Scale) -> list[Found]:
    """Weights that were not measured, such as packed 4-bit ones."""
    members = tuple(Member(one.file, one.name, f"{one.name}  {one.reason}") for one in observation.unmeasured)
    return [Found(members, len(members) + len(observation.tensors))] if members else []


def fault(observation: Observation, scale: Scale) -> list[Found]:
    """Damage of one kind to the files."""
    found = [one for one in observation.faults if one.kind.value == scale.limits["kind"]]
    members = tuple(Member(one.file, one.tensor, f"{Path(one.file).name} {one.detail}") for one in found)
    return [Found(members, len(members))] if members else []
