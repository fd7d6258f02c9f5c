"""Models of the llama.cpp world: GGUF files in and out."""
