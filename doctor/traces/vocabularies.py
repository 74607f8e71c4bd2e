"""Vocabulary sizes of model families: a model that predicts uniformly over K tokens has a loss of ln K."""

from dataclasses import dataclass
from math import log

from doctor.facts import Facts, whole_number


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """How many tokens a model chooses from; ``certain`` is false where only the family's usual size is known."""

    size: int
    family: str
    certain: bool

    @property
    def uniform_loss(self) -> float:
        """The loss, in nats, of a uniform prediction."""
        return log(self.size)


# (pattern of model.type or model.name in lower case, family, size), the specific ones first. Sizes from the models' configs.
FAMILIES = (
    ("minimind", "minimind", 6_400),
    ("modernbert", "ModernBERT", 50_368),
    ("bert", "BERT", 30_522),
    ("tinyllama", "Llama 1/2", 32_000),
    ("llama-4", "Llama 4", 202_048),
    ("llama4", "Llama 4", 202_048),
    ("llama-3", "Llama 3", 128_256),
    ("llama3", "Llama 3", 128_256),
    ("llama", "Llama 1/2", 32_000),
    ("phi-4", "Phi-4", 100_352),
    ("phi-3", "Phi-3", 32_064),
    ("phi3", "Phi-3", 32_064),
    ("t5", "T5", 32_128),
    ("mistral-nemo", "Mistral Nemo", 131_072),
    ("mistral-small", "Mistral Small", 131_072),
    ("ministral", "Ministral", 131_072),
    ("mistral", "Mistral", 32_768),
    ("gpt-oss", "GPT-OSS", 201_088),
    ("gpt_oss", "GPT-OSS", 201_088),
    ("pythia", "Pythia", 50_432),
    ("gpt2", "GPT-2", 50_257),
    ("yi-", "Yi", 64_000),
    ("falcon", "Falcon", 65_024),
    ("olmo", "OLMo 2", 100_352),
    ("deepseek-v3", "DeepSeek V3", 129_280),
    ("deepseek-r1", "DeepSeek R1", 129_280),
    ("deepseek_v3", "DeepSeek V3", 129_280),
    ("glm-4", "GLM 4", 151_552),
    ("glm4", "GLM 4", 151_552),
    ("qwen3.5", "Qwen 3.5", 248_320),
    ("qwen3_5", "Qwen 3.5", 248_320),
    ("qwen3.6", "Qwen 3.6", 248_320),
    ("qwen", "Qwen 2.5/3", 151_936),
    ("bloom", "BLOOM", 250_880),
    ("gemma-4", "Gemma 4", 262_144),
    ("gemma4", "Gemma 4", 262_144),
    ("gemma-3", "Gemma 3", 262_144),
    ("gemma3", "Gemma 3", 262_144),
    ("gemma", "Gemma 1/2", 256_000),
)

# A loss near the ln of a smaller vocabulary has other explanations, so nobody guesses those from the loss alone.
SMALLEST_GUESSED = 30_000
# The settings under which transformers lists the names of the classes: config.id2label.0, config.id2label.1, ...
CLASS_NAMES = "config.id2label."


def known_vocabulary(facts: Facts) -> Vocabulary | None:
    """The vocabulary that the configuration names, or that the model's family has."""
    size = whole_number(facts, "config.vocab_size")
    if size is not None and size > 1:
        return Vocabulary(size, _family(facts) or "this model", certain=True)
    words = _words(facts)
    for pattern, family, size in FAMILIES:
        if pattern in words:
            return Vocabulary(size, family, certain=False)
    return None


def known_classes(facts: Facts) -> Vocabulary | None:
    """The classes of a classifier, where the configuration counts or lists them; a reward model has one."""
    counts = [whole_number(facts, f"config.{key}") for key in ("num_labels", "num_classes")]
    listed = sum(key.startswith(CLASS_NAMES) for key in facts)
    size = next((count for count in (*counts, listed) if count is not None and count > 1), None)
    return None if size is None else Vocabulary(size, "classes", certain=True)


def nearest_vocabulary(loss: float, tolerance: float) -> Vocabulary | None:
    """The family whose uniform loss lies nearest to this one, within a relative tolerance."""
    sizes = {size: family for _, family, size in FAMILIES if size >= SMALLEST_GUESSED}
    size = min(sizes, key=lambda one: abs(log(one) - loss))
    if abs(loss - log(size)) > tolerance * log(size):
        return None
    return Vocabulary(size, sizes[size], certain=False)


def _family(facts: Facts) -> str | None:
    words = _words(facts)
    return next((family for pattern, family, _ in FAMILIES if pattern in words), None)


def _words(facts: Facts) -> str:
    values = (facts[key].value for key in ("model.name", "model.type") if key in facts)
    return " ".join(str(value).lower() for value in values if value)
