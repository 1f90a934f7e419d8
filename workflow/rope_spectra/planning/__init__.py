"""Estimates of time, memory and disk, for `cost` and the resources of the rules."""
