"""R1's chapters, each a short composition of the same loops."""
