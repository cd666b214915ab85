"""The same engines without Kafka: logs, runner, score, parity."""
