"""The element types of checkpoints, named as safetensors names them: their width, and how numpy reads them."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Dtype:
    """One element type.

    ``bits`` is the width of an element. ``numpy`` is the type in which its bytes are read, empty where doctor does not
    measure it. ``torch`` is torch's name for it.
    """

    name: str
    bits: int
    numpy: str
    torch: str

    @property
    def is_float(self) -> bool:
        """Whether it holds numbers that a NaN may hide among (the packed 4- and 6-bit kinds do not count)."""
        return self.name.startswith(("F", "BF")) and bool(self.numpy)

    @property
    def is_scaled(self) -> bool:
        """Whether the numbers mean something only after a multiplication by a scale stored elsewhere (8-bit floats)."""
        return self.name.startswith("F8")


DTYPES = {
    dtype.name: dtype
    for dtype in (
        Dtype("BF16", 16, "<u2", "bfloat16"),
        Dtype("F16", 16, "<f2", "float16"),
        Dtype("F32", 32, "<f4", "float32"),
        Dtype("F64", 64, "<f8", "float64"),
        Dtype("F8_E4M3", 8, "|u1", "float8_e4m3fn"),
        Dtype("F8_E5M2", 8, "|u1", "float8_e5m2"),
        Dtype("F8_E8M0", 8, "|u1", "float8_e8m0fnu"),
        Dtype("F8_E4M3FNUZ", 8, "|u1", "float8_e4m3fnuz"),
        Dtype("F8_E5M2FNUZ", 8, "|u1", "float8_e5m2fnuz"),
        Dtype("BOOL", 8, "|u1", "bool"),
        Dtype("U8", 8, "|u1", "uint8"),
        Dtype("I8", 8, "|i1", "int8"),
        Dtype("U16", 16, "<u2", "uint16"),
        Dtype("I16", 16, "<i2", "int16"),
        Dtype("U32", 32, "<u4", "uint32"),
        Dtype("I32", 32, "<i4", "int32"),
        Dtype("U64", 64, "<u8", "uint64"),
        Dtype("I64", 64, "<i8", "int64"),
        Dtype("C64", 64, "", "complex64"),
        Dtype("F4", 4, "", "float4_e2m1fn_x2"),
        Dtype("F6_E2M3", 6, "", ""),
        Dtype("F6_E3M2", 6, "", ""),
    )
}
BY_TORCH_NAME = {dtype.torch: dtype for dtype in DTYPES.values() if dtype.torch}


@cache
def table_of(name: str) -> npt.NDArray[np.float64]:
    """The 256 values of an 8-bit type, by code: shape (256,), float64, NaN and Inf where the type has them."""
    if DTYPES[name].name.startswith("F8"):
        import torch

        codes = torch.arange(256, dtype=torch.int64).to(torch.uint8)
        return codes.view(getattr(torch, DTYPES[name].torch)).to(torch.float32).double().numpy()
    return np.arange(256, dtype=np.uint8).view(DTYPES[name].numpy).astype(np.float64)
