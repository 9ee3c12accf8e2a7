"""Scoring rules as pure functions: texts in, readings and scores out; no file, no model, no judge."""
