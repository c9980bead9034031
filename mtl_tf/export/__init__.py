"""Exports: a trained network in the formats of other runtimes, compared with its run before it is written."""
