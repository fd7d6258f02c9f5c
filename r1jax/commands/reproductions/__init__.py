"""Published small reproductions of R1-Zero, a command each."""
