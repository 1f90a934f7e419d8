"""The parts that every job has: command line, settings, errors, heartbeat, devices, locks."""
