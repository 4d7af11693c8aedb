"""The report: one self-contained HTML page from tables, figures and captions."""
