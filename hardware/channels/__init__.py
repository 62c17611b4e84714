"""Ways to reach a device: this machine, ssh, adb, or any command."""
