"""Hugging Face's layout in and out: directories, families, safetensors."""
