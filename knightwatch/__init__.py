"""The front door: commands and their composition. No logic."""
