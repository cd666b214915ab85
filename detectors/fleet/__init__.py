"""Stage 2's detectors: what only the whole fleet shows. Pure; the desk feeds them and takes their breaches."""
