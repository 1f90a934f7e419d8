"""What config.yaml may say, and the frozen settings that each job reads instead of it."""
