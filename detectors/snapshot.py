"""State to plain, versioned bytes and back, without pickles: names and numbers only, as MessagePack.

An object's state is its public attributes, but for ``config`` and ``out`` (where it works). It is loaded *into* an object
that was built from the same configuration, so that the bytes never name a class, and a snapshot of another configuration
is refused.
"""

from typing import Any

import msgspec
import numpy as np

from schemas.records import FirstEvent

VERSION = 2
_SKIP = frozenset({"config", "out"})


class SnapshotError(ValueError):
    """A snapshot that cannot be used: what was found, what was expected."""


def dump(value: Any, views: bool = False) -> Any:
    """Plain data (dict, list, number, text, bytes) from a value or an object of the engine. views: arrays are not copied
    but looked at; for data that is written out before the engine's next step."""
    if value is None or isinstance(value, bool | int | float | str | bytes):
        return value
    if isinstance(value, np.ndarray):
        whole = views and value.flags.c_contiguous and value.size
        data = value.data.cast("B") if whole else value.tobytes()
        return {"dtype": value.dtype.str, "shape": list(value.shape), "data": data}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, list | tuple):
        return [dump(v, views) for v in value]
    if isinstance(value, dict):
        return {str(k): dump(v, views) for k, v in value.items()}
    if isinstance(value, FirstEvent):
        return msgspec.to_builtins(value)
    if hasattr(value, "state"):
        return dump(value.state(), views)
    return {k: dump(v, views) for k, v in vars(value).items() if not k.startswith("_") and k not in _SKIP}


def plain(data: Any) -> Any:
    """Arrays back from their plain form."""
    if isinstance(data, dict):
        if data.keys() == {"dtype", "shape", "data"}:
            return np.frombuffer(data["data"], np.dtype(data["dtype"])).reshape(data["shape"]).copy()
        return {k: plain(v) for k, v in data.items()}
    if isinstance(data, list):
        return [plain(v) for v in data]
    return data


def load(target: Any, data: dict[str, Any]) -> None:
    """Set the state of ``target``, built from the same configuration, from what ``dump`` gave."""
    if hasattr(target, "load"):
        target.load(plain(data))
        return
    mine = {k for k in vars(target) if not k.startswith("_") and k not in _SKIP}
    if mine != data.keys():
        raise SnapshotError(
            f"snapshot of {type(target).__name__}: found fields {sorted(data)}, expected {sorted(mine)}; "
            "it comes from another version: delete the snapshot and let the engine re-read the log"
        )
    for name, value in data.items():
        setattr(target, name, _loaded(getattr(target, name), value))


def _loaded(current: Any, value: Any) -> Any:
    if isinstance(current, tuple | list) and current and hasattr(current[0], "__dict__"):
        for twin, part in zip(current, value, strict=True):
            load(twin, part)
        return current
    if isinstance(current, np.ndarray | dict | bool | int | float | str | list) or current is None:
        if isinstance(value, dict) and "cl_ord_id" in value:
            return msgspec.convert(value, FirstEvent)
        return plain(value)
    if isinstance(current, FirstEvent):
        return None if value is None else msgspec.convert(value, FirstEvent)
    if isinstance(current, tuple):
        return tuple(plain(value))
    load(current, value)
    return current


def to_bytes(state: dict[str, Any]) -> bytes:
    """Versioned MessagePack."""
    return msgspec.msgpack.encode({"v": VERSION, **state})


def raw(data: Any) -> msgspec.Raw:
    """A part of a state, encoded: stands in the whole as if it were the data."""
    return msgspec.Raw(msgspec.msgpack.encode(data))


def from_bytes(data: bytes) -> dict[str, Any]:
    """The reverse; SnapshotError when it is not ours or of another version."""
    try:
        state: dict[str, Any] = msgspec.msgpack.decode(data)
    except msgspec.DecodeError as error:
        raise SnapshotError(f"snapshot of {len(data)} bytes does not decode ({error}); delete it and re-read") from None
    if not isinstance(state, dict) or state.get("v") != VERSION:
        found = state.get("v") if isinstance(state, dict) else type(state).__name__
        raise SnapshotError(f"snapshot version {found!r}, expected {VERSION}; delete it and re-read the log")
    return state


__all__ = ["SnapshotError", "dump", "from_bytes", "load", "raw", "to_bytes"]
