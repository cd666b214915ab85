"""The catalogue of the fleet's detectors. A new one is one file and one line here; the laws apply to it at once."""

from collections.abc import Callable
from typing import Final

from detectors.fleet.breadth import Breadth
from detectors.fleet.config import FleetConfig
from detectors.fleet.detector import FleetDetector
from detectors.fleet.divergence import Divergence
from detectors.fleet.drift import Drift
from detectors.fleet.exposure import FirmExposure
from detectors.fleet.participation import Participation
from detectors.fleet.silence import Silence

FLEET: Final[tuple[Callable[[FleetConfig], FleetDetector], ...]] = (
    Divergence,
    Drift,
    Breadth,
    Participation,
    Silence,
    FirmExposure,
)
