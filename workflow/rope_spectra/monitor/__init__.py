"""The state of running and finished jobs, from results/ alone, and the screen of `status`."""
