"""The generation engine: slots, cache, sampling."""
