"""Parameters of stage 1, with units in the names. Every one has a default that config/default.toml repeats."""

from msgspec import Struct


class Stage1Config(Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of one stage-1 engine (one partition's servers)."""

    servers_max: int = 64
    """Servers that one partition may carry; events of further ones go to dead letters."""
    orders_max: int = 262_144
    """Orders remembered per server; the oldest is forgotten first."""
    parents_max: int = 65_536
    symbols_max: int = 8_192
    lateness_ms_max: int = 1_000
    """An event older than the newest by more is scored on arrival and counted as late."""
    future_ms_max: int = 60_000
    """A stamp further ahead of stream time than this is clamped until others confirm it."""
