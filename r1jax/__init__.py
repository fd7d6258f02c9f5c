"""r1jax: the DeepSeek-R1 training system as pure JAX functions."""
