"""What each part of a model costs on a device, from whole small models that were timed."""
