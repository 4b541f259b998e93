"""A benchmark in which the confounding of speaker and emotion is a knob."""
