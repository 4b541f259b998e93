"""Parts of benchmarks/independent_world.py: a corpus and an upstream that are not of our making."""
