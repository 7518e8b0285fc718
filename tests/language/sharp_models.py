"""An untrained model whose predictions differ from one place to the next."""

import torch

from ift_gridworld.language.models import build_model


def sharp_model(seed=1, factor=20):
    """Return the tiny model, its output weights multiplied by `factor`."""
    model = build_model("tiny", seed=seed)
    with torch.no_grad():
        model.lm_head.weight *= factor
    return model
