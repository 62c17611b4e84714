"""Writes an Architecture, its weights and its tokenizer as a GGUF file for llama.cpp."""
