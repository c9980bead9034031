"""The parts of tools/draw_labels.py: a reader for each format of annotations, and what turns shapes into label maps."""

from _tool import ROOT  # whose module also makes the package importable

__all__ = ["ROOT"]
