"""Corpora -> utterances, whoever made them.

known/ is the table of all corpora; reading.py finds the one that is named and has it read;
labels.py says which classes are trained, checks.py whether the result can serve.
"""
