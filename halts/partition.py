"""Which partition a router's records are in, as every Kafka client reckons it."""

from kafka.partitioner.default import murmur2


def partition_of(server: str, partitions: int) -> int:
    """Where the flow of ``server`` goes: Kafka's default partitioner, by key.

    >>> partition_of("R1", 8) == partition_of("R1", 8), 0 <= partition_of("R2", 8) < 8
    (True, True)
    """
    return int((murmur2(server.encode()) & 0x7FFFFFFF) % partitions)
