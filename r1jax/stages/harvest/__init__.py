"""Samples to learn from: drawn, judged, filtered, reviewed."""
