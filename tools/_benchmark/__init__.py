"""The parts of tools/benchmark.py: what is measured under each backend, how, and how it is told."""

from _tool import ROOT  # whose module also makes the package importable

__all__ = ["ROOT"]
