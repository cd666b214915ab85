"""Arguments that are put together once are what the kernel reads, and of no other types."""

import os
import subprocess
import sys
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from schemas.bound import Bound, BoundError, Memory, store
from schemas.jit import compiled


class Inner(NamedTuple):
    flags: NDArray[np.bool_]
    table: NDArray[np.float64]


class Given(NamedTuple):
    numbers: NDArray[np.int64]
    factor: int
    inner: Inner
    share: float


def given(n: int, factor: int = 3) -> Given:
    return Given(np.arange(n), factor, Inner(np.ones(n, np.bool_), np.arange(2.0 * n).reshape(n, 2)), 0.5)


def bound() -> Bound[Given]:
    @compiled
    def write(memory: Memory, value: Given) -> None:
        store(memory, value)

    return Bound(given(4), write)


BOUND = bound()
_read = BOUND.read


@compiled
def total(memory: Memory, out: Any) -> float:
    all_of = _read(memory)
    found = 0.0
    for i in range(len(all_of.numbers)):
        if all_of.inner.flags[i]:
            found += all_of.numbers[i] * all_of.factor + all_of.inner.table[i, 1] * all_of.share
    all_of.numbers[0] = 100
    out[0] = len(all_of.inner.table)
    return found


@pytest.mark.parametrize("n", [1, 4, 1_000])
def test_a_kernel_reads_what_was_put(n: int) -> None:
    value, out = given(n, factor=n), np.zeros(1, np.int64)
    memory = BOUND.put(value)
    expected = float((value.numbers * n + value.inner.table[:, 1] * 0.5).sum())
    assert total(memory, out) == expected
    assert out[0] == n


def test_it_is_the_arrays_themselves() -> None:
    value, out = given(4), np.zeros(1, np.int64)
    memory = BOUND.put(value)
    value.inner.flags[:] = False
    assert total(memory, out) == 0.0
    assert value.numbers[0] == 100


@pytest.mark.parametrize("puts_before", [0, 2])
@pytest.mark.parametrize(
    "wrong",
    [
        given(4)._replace(numbers=np.arange(4.0)),
        given(4)._replace(inner=Inner(np.ones(4, np.bool_), np.arange(16.0).reshape(4, 4)[:, ::2])),
        given(4)._replace(share="half"),
    ],
    ids=["other dtype", "not contiguous", "no number"],
)
def test_other_types_are_refused(wrong: Any, puts_before: int) -> None:
    fresh = bound()
    for _ in range(puts_before):
        fresh.put(given(2))
    with pytest.raises(BoundError, match="expected"):
        fresh.put(wrong)
    fresh.put(given(3))


def test_without_compilation_the_arguments_stand_for_themselves() -> None:
    code = (
        "from tests.schemas.test_bound import BOUND, given, total; import numpy as np; "
        "value = given(3); assert BOUND.put(value) is value; print(total(value, np.zeros(1, np.int64)))"
    )
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert float(done.stdout) == 9.0 + 0.5 * (1 + 3 + 5)
