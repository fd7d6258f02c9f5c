"""The whole of R1: its plan, its run, its lineage."""
