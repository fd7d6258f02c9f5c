"""A real language model, SmolLM2-135M-Instruct: R1-Zero and R1 on it, and what they teach it."""
