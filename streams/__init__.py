"""Kafka in, Kafka out: the Faust application. No arithmetic."""
