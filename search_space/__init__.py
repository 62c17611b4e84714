"""What can be built: architectures, their costs, their torch, ONNX, GGUF and transformers form."""
