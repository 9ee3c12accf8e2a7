"""Rows to learn from: files of them, their lengths, their order, packs."""
