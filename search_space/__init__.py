"""What can be built: architectures, their costs, and their torch and ONNX form."""
