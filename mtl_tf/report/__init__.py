"""Offline pages: the report of a run, the page of many runs; and the results table for the terminal."""

from mtl_tf.report.document import Answer, Document, Picture, write_document
from mtl_tf.report.page import write_report
from mtl_tf.report.scores import results_table

__all__ = ["Answer", "Document", "Picture", "results_table", "write_document", "write_report"]
