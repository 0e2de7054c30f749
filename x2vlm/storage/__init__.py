"""Files of weights as plain tensors: what a file is, what is inside it, and how it is written.

Nothing here knows a model, and nothing in a file is ever run.
"""
