"""The study: declared experiments (report.toml), run as one search, shown as tables, figures and a page."""
