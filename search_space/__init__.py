"""Architectures, their costs, search spaces, and torch, ONNX, GGUF and transformers forms."""
