"""The parts of tools/describe_dataset.py: what the files say, what is asked, and the descriptor that comes of it."""

from _tool import ROOT  # whose module also makes the package importable

__all__ = ["ROOT"]
