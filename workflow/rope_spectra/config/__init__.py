"""The settings of config.yaml, and the frozen ones that each job reads instead."""
