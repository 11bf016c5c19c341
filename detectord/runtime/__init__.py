"""Processes: the supervisor and its workers, and what they say to each other."""
