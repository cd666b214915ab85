"""Recorded data of others as order flow: LOBSTER, Bitstamp, FIX drop copies, CSV with a column mapping."""
