"""Studies over many settings: the reproduction of the paper, its claims and figures, the language study."""
