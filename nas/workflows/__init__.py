"""The work behind the commands: each workflow takes plain options and returns plain results."""
