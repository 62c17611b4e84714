import signal

from hypothesis import HealthCheck, settings

# A shell starts its background jobs with Ctrl-C ignored, and so are then their children.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes tells of the machine, which others may be using.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
