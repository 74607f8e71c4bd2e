import pytest
import torch

from doctor.weights.dtypes import BY_TORCH_NAME, DTYPES, table_of

SAFETENSORS_0_8 = """BOOL F4 F6_E2M3 F6_E3M2 U8 I8 F8_E5M2 F8_E4M3 F8_E8M0 F8_E4M3FNUZ F8_E5M2FNUZ
I16 U16 F16 BF16 I32 U32 F32 C64 F64 I64 U64"""


def test_every_dtype_of_safetensors_is_known() -> None:
    assert set(SAFETENSORS_0_8.split()) == set(DTYPES)


def test_the_names_of_torch_exist() -> None:
    assert all(isinstance(getattr(torch, name), torch.dtype) for name in BY_TORCH_NAME)


@pytest.mark.parametrize("name", [name for name, dtype in DTYPES.items() if name.startswith("F8")])
def test_tables_of_8_bit_floats_are_those_of_torch(name: str) -> None:
    codes = torch.arange(256).to(torch.uint8).view(getattr(torch, DTYPES[name].torch)).float().double()
    assert torch.equal(torch.from_numpy(table_of(name)).nan_to_num(1e9), codes.nan_to_num(1e9))


def test_packed_and_complex_dtypes_are_not_measured() -> None:
    assert {name for name, dtype in DTYPES.items() if not dtype.numpy} == {"C64", "F4", "F6_E2M3", "F6_E3M2"}
