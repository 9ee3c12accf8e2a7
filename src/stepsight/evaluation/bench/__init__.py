"""Benchmarks run and scored, with everything that can move a score written on the result."""

from stepsight.evaluation.bench.results import BenchCard, BenchResult, find_results, read_result, write_result

__all__ = ["BenchCard", "BenchResult", "find_results", "read_result", "write_result"]
