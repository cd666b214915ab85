"""Arguments of a compiled loop that stay the same from call to call, put together once.

At each call from Python numba looks at every array that it is given, 0.25 us each: of the 220 arrays of a server's tables
and of the room to work in that was 60 us, whether the batch held one event or a thousand. Put into memory once they are one
argument, and a kernel reads from there what it needs.

The memory holds addresses. Whoever keeps it keeps the arrays too, and puts them together anew when one has moved.
"""

from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

import numba
import numpy as np
from numba.core import types
from numba.extending import intrinsic
from numpy.typing import NDArray

T = TypeVar("T", bound=tuple[Any, ...])
Memory = NDArray[np.uint64]
"""What stands for the arguments; opaque."""
_JIT: Final = not numba.config.DISABLE_JIT


class BoundError(TypeError):
    """Arguments that are not of the types which the kernel was compiled for."""


class Bound(Generic[T]):
    """Arguments of the types of ``example``, a tuple of arrays, numbers and such tuples.

    ``read``: for kernels, ``read(memory)`` is the tuple. Keep it in a global of the kernel's module. write: a kernel of that
    module which does ``store(memory, value)``: compiled for these types, it is kept on disk beside the module's others
    (one kernel for all would make each process load the types of all that ever used it).
    """

    def __init__(self, example: T, write: Callable[[Memory, T], None]) -> None:
        self._kind = numba.typeof(example) if _JIT else None
        self._words = _words(example)
        self._write: Any = write
        self._first = True
        self.read: Callable[[Memory], T] = _reader(self._kind) if _JIT else _same

    def put(self, value: T) -> Memory:
        """The memory that stands for ``value``. BoundError where its types are not those of the example."""
        if not _JIT:
            return value  # type: ignore[return-value]
        memory = np.zeros(self._words, np.uint64)
        if self._first:
            self._check(value)
        try:
            self._write(memory, value)
        except TypeError:
            self._check(value)
            raise
        if self._first:  # types are looked at in Python once, for that takes milliseconds; from now on by numba
            self._write.disable_compile()
            self._first = False
        return memory

    def _check(self, value: T) -> None:
        if (found := numba.typeof(value)) != self._kind:
            raise BoundError(f"arguments of the types {found}; expected {self._kind}")


def _words(value: Any) -> int:
    """Words of eight bytes that a value needs at most: of an array, five and two a dimension."""
    if isinstance(value, tuple):
        return sum(map(_words, value))
    return 5 + 2 * value.ndim if isinstance(value, np.ndarray) else 1


def _same(value: Any) -> Any:
    return value


def _place(context: Any, builder: Any, kind: Any, memory: Any, array: Any) -> Any:
    """The memory as a place for a value of a kind."""
    data = context.make_array(memory)(context, builder, array).data
    return builder.bitcast(data, context.get_value_type(kind).as_pointer())


def _reader(kind: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.load(_place(context, builder, kind, signature.args[0], given[0]), align=8)

    return intrinsic(lambda typing, memory: (kind(memory), generate))


def store(memory: Any, value: Any) -> None:
    """Inside a kernel: write a value as it stands in registers."""


def _generate_store(context: Any, builder: Any, signature: Any, given: Any) -> Any:
    builder.store(given[1], _place(context, builder, signature.args[1], signature.args[0], given[0]), align=8)
    return context.get_dummy_value()


if _JIT:
    store = intrinsic(lambda typing, memory, value: (types.void(memory, value), _generate_store))


__all__ = ["Bound", "BoundError", "Memory", "store"]
