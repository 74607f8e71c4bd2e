import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from doctor.weights.dtypes import DTYPES
from doctor.weights.moments import BLOCK, CHUNK, ROW, Moments, Workspace, exact, merge

FLOATS = ("BF16", "F16", "F32", "F64")


def moments_of(tensor: torch.Tensor, dtype: str) -> Moments:
    data = tensor.contiguous().flatten().view(torch.uint8).numpy()
    workspace = Workspace()

    def fill(at: int, size: int) -> None:
        workspace.chunk[:size] = data[at : at + size]

    return workspace.run(data.size, DTYPES[dtype], fill)


def random(dtype: str, count: int, scale: float = 0.02, shift: float = 0.001) -> torch.Tensor:
    values = torch.randn(count, generator=torch.Generator().manual_seed(count)) * scale + shift
    return values.to(getattr(torch, DTYPES[dtype].torch))


def agrees(found: Moments, tensor: torch.Tensor, rel: float) -> None:
    wide = tensor.double()
    assert found.count == tensor.numel()
    assert found.std == pytest.approx(float(wide.std()), rel=rel)
    assert found.mean == pytest.approx(float(wide.mean()), abs=rel * float(wide.std()))
    assert found.norm == pytest.approx(float(wide.norm()), rel=rel)
    assert found.absmax == float(wide.abs().max())
    assert found.zeros == int((tensor == 0).sum())


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("count", [2, 1000, 2 * ROW - 1, 2 * ROW, BLOCK, CHUNK // 8, CHUNK // 8 - 7])
def test_agrees_with_torch_in_float64(dtype: str, count: int) -> None:
    tensor = random(dtype, count)
    agrees(moments_of(tensor, dtype), tensor, 5e-7)


@pytest.mark.parametrize("dtype", ["BF16", "F16"])
def test_whole_chunks_take_the_fast_way_and_agree(dtype: str) -> None:
    tensor = random(dtype, CHUNK // 2)
    tensor[[3, 70_000]] = torch.tensor([0.0, -0.0]).to(tensor.dtype)
    agrees(moments_of(tensor, dtype), tensor, 5e-7)


@pytest.mark.parametrize(("scale", "shift"), [(1e-3, 1.0), (1e-25, 0.0), (1e25, 0.0), (1e-4, -5.0)])
def test_cancellation_overflow_and_underflow_do_not_cost_digits(scale: float, shift: float) -> None:
    tensor = random("F32", CHUNK // 4, scale, shift)
    agrees(moments_of(tensor, "F32"), tensor, 5e-7)


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32"])
def test_a_mean_as_large_as_the_deviation_costs_few_digits(dtype: str) -> None:
    agrees(moments_of(tensor := random(dtype, CHUNK // 2, 0.02, 0.03), dtype), tensor, 1e-6)


@pytest.mark.parametrize("dtype", ["F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "F8_E8M0"])
def test_8_bit_floats(dtype: str) -> None:
    tensor = (torch.rand(5000) * 4 + 0.1).to(getattr(torch, DTYPES[dtype].torch))
    found, wide = moments_of(tensor, dtype), tensor.float().double()
    assert found.std == pytest.approx(float(wide.std()), rel=1e-12)
    assert found.absmax == float(wide.max())
    assert (found.nan, found.inf) == (0, 0)


def test_nan_of_an_8_bit_float_is_found() -> None:
    tensor = torch.ones(100).to(torch.float8_e4m3fn)
    tensor[42] = float("nan")
    found = moments_of(tensor, "F8_E4M3")
    assert (found.nan, found.first, math.isnan(found.std)) == (1, 42, True)


@pytest.mark.parametrize("dtype", ["I8", "U8", "I16", "U16", "I32", "U32", "I64", "U64", "BOOL"])
def test_integers(dtype: str) -> None:
    tensor = (torch.arange(1000) % 2 if dtype == "BOOL" else torch.arange(1000) % 100).to(
        getattr(torch, DTYPES[dtype].torch)
    )
    found = moments_of(tensor, dtype)
    assert (found.count, found.zeros) == (1000, int((tensor.long() == 0).sum()))
    assert found.std == pytest.approx(float(tensor.double().std()), rel=1e-12)


@pytest.mark.parametrize("dtype", FLOATS)
def test_nan_and_inf_are_counted_and_the_first_is_placed(dtype: str) -> None:
    tensor = random(dtype, CHUNK // 8 if dtype == "F64" else CHUNK // 4)
    tensor[-5], tensor[-9], tensor[-20] = float("nan"), float("inf"), -float("inf")
    found = moments_of(tensor, dtype)
    assert (found.nan, found.inf, found.first) == (1, 2, tensor.numel() - 20)
    assert all(math.isnan(value) for value in (found.std, found.mean, found.rms, found.absmax))


def test_inf_without_nan_keeps_an_absmax() -> None:
    found = exact(np.array([1.0, -np.inf, 2.0]))
    assert (found.nan, found.inf, found.first, found.absmax) == (0, 1, 1, math.inf)


def test_nothing_and_one_element_are_as_in_torch() -> None:
    assert Moments().count == 0
    assert math.isnan(Moments().std)
    assert math.isnan(Moments().rms)
    assert Moments().norm == 0
    one = exact(np.array([3.0]))
    assert math.isnan(one.std)
    assert (one.mean, one.rms, one.norm) == (3.0, 3.0, 3.0)


def test_all_zero() -> None:
    found = moments_of(torch.zeros(CHUNK // 2, dtype=torch.bfloat16), "BF16")
    assert found == Moments(count=CHUNK // 2, zeros=CHUNK // 2)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=60), st.integers(0, 60))
def test_merging_two_parts_is_measuring_the_whole(values: list[float], cut: int) -> None:
    whole = exact(np.array(values))
    parts = merge([exact(np.array(values[:cut])), exact(np.array(values[cut:])).shifted(cut)])
    assert parts.mean == pytest.approx(whole.mean, rel=1e-9, abs=1e-6)
    assert parts.m2 == pytest.approx(whole.m2, rel=1e-9, abs=1e-3)
    assert (parts.count, parts.absmax, parts.zeros) == (whole.count, whole.absmax, whole.zeros)
