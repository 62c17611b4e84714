"""Processes for tests."""

from studies.owner import Owner

# It cannot be looked up, since no system has an empty boot identifier.
OWNER = Owner(token="77", host="board", pid=77, started="1", boot="", namespace="")
