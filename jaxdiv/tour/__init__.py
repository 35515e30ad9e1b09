"""The argument, step by step: information, codes, entropy, KL, its minimum, and what to train on.

A step is a module with `NAME`, `TITLE` and `tell`, which computes and writes to a page; steps with
pictures also have `draw`, a dictionary from the name of a picture to the function that draws it.
"""

from . import beliefs, codes, divergence, entropies, fits, losses, surprise, training

STEPS = (surprise, codes, entropies, beliefs, divergence, training, losses, fits)
