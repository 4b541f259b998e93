"""What a step is made of: optimisers, gradients within bounds, the ascent, and the way back.

`updates.py` puts these together into the equations.
"""
