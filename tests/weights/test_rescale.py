from pathlib import Path

import pytest
import torch

from doctor.errors import CheckpointError
from doctor.weights.rescale import BLOCK, multiplied, read_blocks, sha256

DTYPES = {"F32": torch.float32, "F64": torch.float64, "F16": torch.float16, "BF16": torch.bfloat16}


@pytest.mark.parametrize("dtype", DTYPES)
def test_multiplies_exactly_as_mul_does(dtype: str) -> None:
    tensor = torch.randn(5000).to(DTYPES[dtype])
    tensor[:4] = torch.tensor([0.0, -0.0, 1e30, -1e-30])
    found = multiplied(tensor.view(torch.uint8).numpy().tobytes(), dtype, 0.6137651089286941)
    assert found == tensor.clone().mul_(0.6137651089286941).view(torch.uint8).numpy().tobytes()


@pytest.mark.parametrize("factor", [0.6137651089286941, 1.6213, 1.0, 3e38, 1e-38])
@pytest.mark.parametrize("dtype", ["BF16", "F16"])
def test_every_16_bit_number_is_multiplied_as_torch_does(dtype: str, factor: float) -> None:
    codes = torch.arange(1 << 16, dtype=torch.int32).to(torch.uint16)
    expected = codes.view(DTYPES[dtype]).clone().mul_(factor)
    found = torch.frombuffer(bytearray(multiplied(codes.numpy().tobytes(), dtype, factor)), dtype=DTYPES[dtype])
    assert torch.equal(found.isnan(), expected.isnan())
    real = ~expected.isnan()
    assert torch.equal(found.view(torch.int16)[real], expected.view(torch.int16)[real])


def test_blocks_are_the_region(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(bytes(range(256)) * 4)
    assert b"".join(read_blocks(path, 10, 500)) == (bytes(range(256)) * 4)[10:510]
    assert list(read_blocks(path, 10, 0)) == []
    assert BLOCK % 8 == 0  # no element lies across two blocks
    with pytest.raises(CheckpointError, match="ended while it was read"):
        list(read_blocks(path, 1000, 100))


def test_sha256_of_pieces() -> None:
    assert sha256([b"a", b"bc"]) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
