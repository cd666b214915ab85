"""Compiled loops for the detectors (see ``schemas.jit``)."""

from schemas.jit import compiled

__all__ = ["compiled"]
