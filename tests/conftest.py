import signal

# A shell starts its background jobs with Ctrl-C ignored, and so are then their children.
signal.signal(signal.SIGINT, signal.default_int_handler)
