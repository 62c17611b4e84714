"""How long a model file takes on a device."""
