"""Strategies, widths and judges compared on the same questions at what they cost."""
