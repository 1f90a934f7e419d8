"""What every job has: command line, errors, progress, heartbeat, devices, locks."""
