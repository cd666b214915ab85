"""Measurements beside peers, as ratios in one run. Never timed tests."""
