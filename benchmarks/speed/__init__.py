"""The figures that `benchmarks/run.py` measures, one family per file."""
