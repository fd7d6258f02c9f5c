"""What the benches share: shapes, clock, ceilings of the device, kernels, tables."""
