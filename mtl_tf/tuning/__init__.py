"""Searches over options: the space, the algorithms, and one trial as a process of its own."""
