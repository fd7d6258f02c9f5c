"""What only decoding has: caches, their kernel, matrices laid out for few rows or in 8 bits."""
