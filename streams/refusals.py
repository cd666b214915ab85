"""Dead letters for JSON records that are not what their topic holds (order events: ``schemas.codec``)."""

from base64 import b64encode

import msgspec

from schemas.codec import PAYLOAD_BYTES_MAX, Reason
from schemas.records import DeadLetter


class Refused(ValueError):
    """A record that decodes but says something it must not."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def reason_of(error: Exception) -> Reason:
    """The reason word for what decoding or checking raised."""
    if isinstance(error, Refused):
        return error.reason
    if isinstance(error, msgspec.ValidationError):
        return Reason.missing_field if "missing required field" in str(error) else Reason.wrong_type
    return Reason.undecodable


def refusal(
    topic: str, partition: int, offset: int, key: bytes | None, value: bytes, error: msgspec.DecodeError | Refused
) -> DeadLetter:
    """The dead letter for the record at ``offset`` that raised ``error``."""
    return DeadLetter(
        reason=reason_of(error).value,
        detail=str(error),
        topic=topic,
        partition=partition,
        offset=offset,
        item=0,
        payload=b64encode(value[:PAYLOAD_BYTES_MAX]).decode("ascii"),
        key=(key or b"").decode(errors="replace"),
    )
