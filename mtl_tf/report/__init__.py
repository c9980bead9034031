"""The report of a run: one page that needs no network, and the results table for the terminal."""

from mtl_tf.report.page import Panel, write_report
from mtl_tf.report.scores import results_table

__all__ = ["Panel", "results_table", "write_report"]
