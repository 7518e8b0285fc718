"""PPO where steps do not count, and the first batch of a run that goes on. `test_methods` has PPO and GRPO by loops."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from test_methods import SEEDS, rollout


def with_rows(steps, mask):
    """Twice the walkers; of the second half only what the mask says counts."""
    doubled = {field.name: torch.cat([getattr(steps, field.name)] * 2, 1) for field in fields(steps)}
    return type(steps)(**doubled | {"mask": torch.cat([steps.mask, mask], 1)})


def test_ppo_leaves_out_of_every_mean_what_does_not_count():
    """Walkers that do not count change neither advantages of the others, nor the loss."""
    method = rollout()
    steps = method._steps()
    batches = []
    for each in (steps, with_rows(steps, torch.zeros_like(steps.mask))):
        method._steps = lambda each=each: each
        batches.append(method._walk())
    ours, padded = batches
    torch.testing.assert_close(padded.advantage[:, :6], ours.advantage, rtol=0, atol=1e-6)
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.mul_(1.1)
    torch.testing.assert_close(method.loss(padded), method.loss(ours), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_ppo_scales_by_the_sample_deviation_of_what_counts(count):
    """Of one step there is none: its advantage is 0."""
    method = rollout()
    steps = method._steps()
    counted = torch.zeros_like(steps.mask)
    counted[:, 0, :count] = True
    method._steps = lambda: replace(steps, mask=counted)
    batch = method._walk()
    raw = (batch.target - batch.value)[:, 0, :count].double()
    deviation = raw.std(-1, keepdim=True) if count > 1 else torch.zeros(SEEDS, 1)
    expected = (raw - raw.mean(-1, keepdim=True)) / (deviation + 1e-3)
    np.testing.assert_allclose(batch.advantage[:, 0, :count], expected, rtol=1e-3, atol=1e-5)  # float32


@pytest.mark.parametrize("name", ["ppo", "grpo", "dapo"])
def test_a_run_that_goes_on_between_two_batches_walks_at_once(name):
    method = rollout(name, epochs=3)
    batch = method.batch(4)
    assert batch is not None and method.batch(5) is batch and method.batch(6) is not batch
