"""One file per public dataset: its own files on disk become questions, row by row.

`source.py` says what a source is, `catalogue.py` which there are.
"""
