"""Checkpoints made on the spot, and what is known of them."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

Tensors = Mapping[str, torch.Tensor]

# What the release notes of the published rule give for Qwen3.5-35B-A3B: 30 DeltaNet layers, three of them drifted.
PUBLISHED_CENTRE = 0.062733
PUBLISHED_OUTLIERS = {36: 0.101870, 37: 0.102362, 38: 0.089227}


def with_std(std: float, shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    """A float32 tensor with this very unbiased standard deviation (to float32) and mean 0."""
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    values -= values.mean()
    return (values / values.std() * std).float()


@pytest.fixture(scope="session")
def fixtures() -> Path:
    """The checkpoints in the repository."""
    return Path(__file__).parents[2] / "fixtures" / "weights"


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """Writes a folder with one safetensors file a part, an index if there are several, and a config.json."""

    def write(*parts: Tensors, name: str = "ckpt", config: Mapping[str, object] | None = None) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        table = {}
        for n, part in enumerate(parts, 1):
            file = "model.safetensors" if len(parts) == 1 else f"model-{n:05d}-of-{len(parts):05d}.safetensors"
            save_file(dict(part), folder / file, metadata={"format": "pt"})
            table |= dict.fromkeys(part, file)
        if len(parts) > 1:
            index = {"metadata": {"total_size": 0}, "weight_map": table}
            (folder / "model.safetensors.index.json").write_text(json.dumps(index))
        if config is not None:
            (folder / "config.json").write_text(json.dumps(config))
        return folder

    return write


@pytest.fixture(scope="session")
def published() -> dict[str, torch.Tensor]:
    """Thirty convolutions with the published standard deviations, as the model names them (three layers of four)."""
    layers = [layer for layer in range(40) if (layer + 1) % 4]
    healthy = [layer for layer in layers if layer not in PUBLISHED_OUTLIERS]
    # The centre is the upper median of all thirty: the 16th, with the three outliers above it.
    stds = {layer: PUBLISHED_CENTRE + 0.0001 * (n - 15) for n, layer in enumerate(healthy)} | PUBLISHED_OUTLIERS
    return {
        f"model.language_model.layers.{layer}.linear_attn.conv1d.weight": with_std(stds[layer], (1024, 1, 4), layer)
        for layer in layers
    }
