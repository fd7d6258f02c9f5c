"""Decoders as pure functions over plain pytrees: config, weight table, layers, hub."""
