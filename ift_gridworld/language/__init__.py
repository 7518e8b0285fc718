"""A lake written as text, and language models that are aligned on it by the very methods, losses and measures of the lake.

Needs the extra ``language``: ``pip install ift-gridworld[language]``.
"""
