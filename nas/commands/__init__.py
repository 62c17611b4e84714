"""The commands, one module each: parse the options, call a workflow, and show its result."""
