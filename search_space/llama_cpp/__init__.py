"""An Architecture, its weights and its tokenizer as llama.cpp has them, in a GGUF file."""
