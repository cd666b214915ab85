"""Compiled loops for the detectors (see ``schemas.jit``)."""

from schemas.jit import Int, compiled

__all__ = ["Int", "compiled"]
