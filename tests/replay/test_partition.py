"""Our partitioner is Kafka's."""

from hypothesis import given
from hypothesis import strategies as st
from kafka.partitioner.default import murmur2 as kafka_murmur2

from replay.partition import murmur2, partition_of


@given(st.binary(max_size=64))
def test_murmur2_is_that_of_kafka_python(data: bytes) -> None:
    assert murmur2(data) == kafka_murmur2(data)


def test_known_value_of_the_java_client() -> None:
    """From org.apache.kafka.common.utils.UtilsTest (signed there)."""
    assert murmur2(b"21") == -973932308 & 0xFFFFFFFF
    assert murmur2(b"a-little-bit-long-string") == -985981536 & 0xFFFFFFFF


@given(st.text(max_size=20), st.integers(1, 100))
def test_partition_is_in_range(key: str, partitions: int) -> None:
    assert 0 <= partition_of(key.encode(), partitions) < partitions
