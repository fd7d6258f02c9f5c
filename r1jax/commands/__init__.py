"""What the commands do, and how their flags are read."""
