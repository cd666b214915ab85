"""Compiled loops: the one place that names numba, so that strict types hold on both sides of it (ADR 5).

A kernel is a plain function over numpy arrays and integers, event after event in log order. It runs uncompiled with
``NUMBA_DISABLE_JIT=1`` and gives the same: only integers are summed, and float code is compiled without fast-math.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])
Int = Any
"""An int64 or uint64 inside a kernel, where Python's int and numpy's integers are one thing."""


def compiled(function: F) -> F:
    """The function in machine code, compiled at its first call and kept in ``__pycache__`` (or the user's cache, where
    that cannot be written). The GIL is released while it runs. Integer division by zero gives 0: kernels check."""
    return cast(F, numba.njit(cache=True, nogil=True, error_model="numpy")(function))
