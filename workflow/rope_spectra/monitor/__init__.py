"""What results/ says about running and finished jobs, and how `status` shows it."""
