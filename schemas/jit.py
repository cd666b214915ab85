"""Compiled loops: the one place beside ``bound`` that names numba, so that strict types hold on both sides (ADR 5).

A kernel is a plain function over numpy arrays and integers, event after event in log order. It runs uncompiled with
``NUMBA_DISABLE_JIT=1`` and gives the same: only integers are summed, and float code is compiled without fast-math.
"""

import importlib
import sys
from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

import numba
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from schemas.builds import folder

F = TypeVar("F", bound=Callable[..., Any])
Int = Any
"""An int64 or uint64 inside a kernel, where Python's int and numpy's integers are one thing."""


def _without_blas() -> None:
    """Numba asks at its first kernel whether scipy's BLAS is there, by loading ``scipy.linalg``: an eighth of a second that
    every process pays. No kernel here multiplies matrices, so the answer is no."""
    name = "scipy.linalg.cython_blas"
    if name in sys.modules:
        return
    sys.modules[name] = None  # type: ignore[assignment]  # how Python is told that a module cannot be imported
    try:
        importlib.import_module("numba.np.arraymath")
    finally:
        del sys.modules[name]


_without_blas()
BUILD: Final = folder(numba.config.CACHE_DIR)
"""Where the machine code of this build is kept."""
numba.config.CACHE_DIR = str(BUILD)
TOOLS: Final = f"{sys.implementation.cache_tag}-numba-{numba.__version__}"
"""Whose machine code it is: that of another Python or another numba is of no use to this one."""


def compiled(function: F) -> F:
    """The function in machine code, compiled at its first call and kept on disk (``schemas.builds``). The GIL is kept, for
    giving it up and fighting for it forty times a batch costs more than the other threads gain. Integer division by zero
    gives 0: kernels check.

    Without numba's runtime: it would count references to every array at every call of one kernel by another, each an
    atomic operation, which took a fifth of stage 1. So a kernel makes no arrays; its caller hands it room to work in.

    Inlined into its caller, whatever its size: an array is seven arguments, so that the tables of one detector are some
    two hundred, and to push them at each event took half of the pass."""
    return cast(F, numba.njit(cache=True, error_model="numpy", _nrt=False, forceinline=True)(function))


def prefetch(array: Any, index: Any) -> None:
    """Inside a kernel: ask memory for the place of an array that is going to be read (``llvm.prefetch``)."""


def _prefetch(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    array = context.make_array(signature.args[0])(context, builder, arguments[0])
    byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
    ask = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
    place = builder.bitcast(builder.gep(array.data, [arguments[1]]), byte)
    builder.call(ask, [place, *(ir.Constant(number, code) for code in (0, 3, 1))])
    return context.get_dummy_value()


def copy(out: Any, to: Any, data: Any, start: Any, count: Any) -> None:
    """Inside a kernel: ``out[to : to + count] = data[start : start + count]`` of two contiguous arrays of one dtype that
    share no memory, as one ``memcpy``: a loop over bytes takes several times as long. Bounds are the caller's."""
    out[to : to + count] = data[start : start + count]


def _copy(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    out, to, data, start, count = arguments
    into = context.make_array(signature.args[0])(context, builder, out)
    source = context.make_array(signature.args[2])(context, builder, data)
    size = context.get_abi_sizeof(context.get_data_type(signature.args[0].dtype))
    cgutils.raw_memcpy(builder, builder.gep(into.data, [to]), builder.gep(source.data, [start]), count, size)
    return context.get_dummy_value()


if not numba.config.DISABLE_JIT:
    copy = intrinsic(
        lambda typing, out, to, data, start, count: (
            types.void(out, types.intp, data, types.intp, types.intp), _copy
        )
    )  # fmt: skip
    prefetch = intrinsic(lambda typing, array, index: (types.void(array, types.intp), _prefetch))
