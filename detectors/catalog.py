"""The catalogue of stage-1 detectors. A new detector is one file and one line here; the laws apply to it at once."""

from collections.abc import Callable
from typing import Final

from detectors.config import Stage1Config
from detectors.conservation import Conservation
from detectors.crossing import Crossing
from detectors.detector import Detector
from detectors.exposure import Exposure
from detectors.fanout import FanOut
from detectors.malformed import Malformed
from detectors.orphans import Orphans
from detectors.rate import Rate
from detectors.repetition import Repetition

CATALOG: Final[tuple[Callable[[Stage1Config], Detector], ...]] = (
    lambda c: Conservation(c.conservation),
    lambda c: Rate(c.rate),
    lambda c: Crossing(c.crossing),
    lambda c: Repetition(c.repetition),
    lambda c: Malformed(c.malformed),
    lambda c: Exposure(c.exposure, c.orders_max),
    lambda c: FanOut(c.fanout),
    lambda c: Orphans(c.orphans),
)
