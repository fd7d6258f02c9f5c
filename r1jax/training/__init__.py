"""The jitted update, the RL loop, the SFT loop, metrics."""
