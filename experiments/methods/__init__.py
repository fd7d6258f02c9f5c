"""Every method that learns from a base, beside GRPO, at equal operations of the student."""
