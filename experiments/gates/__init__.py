"""The gates: R1-Zero on the embedded base and on TinyZero's, with their controls."""
