"""The messages between a host and the agent on a device.

A message is a line of JSON. The host sends requests, each with a number, and gets for each one any
number of lines with a text for the user, then one line with the answer or an error:

    {"id": 7, "do": "time", "model": 1, "workload": {...}, "samples": 10}
    {"id": 7, "say": "waiting for another measurement on this machine"}
    {"id": 7, "answer": {...}}
    {"id": 7, "error": {"kind": "refused", "reason": "..."}}

A request with "bytes" is followed by that many bytes, the content of a file. Both sides send an
empty line every few seconds, so that each notices when the other has gone without a word.
"""

SILENCE_S = 45.0
"""Without any line for that long, the other side is gone."""

SIGNS_PER_SILENCE = 9
"""How many empty lines both sides send in that time."""

LONGEST_LINE = 1 << 24
"""Bytes; the samples of the longest window take a fraction of it."""
