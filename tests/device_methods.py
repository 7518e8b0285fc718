"""All methods on the simulated device: prints as JSON how often the host waits in an update (`test_simulated_device`)."""

from __future__ import annotations

import json
import sys
import warnings

import numpy as np
import torch

from ift_gridworld.language import training
from ift_gridworld.language.data import Completions
from ift_gridworld.language.models import build_model
from ift_gridworld.language.policy import LanguagePolicy
from ift_gridworld.language.sampling import sample
from ift_gridworld.language.source import TextSource
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.methods.options import TrainingOptions
from ift_gridworld.methods.registry import METHODS
from ift_gridworld.training import make_base, train
from tests.simulated_device import SIM, Machine

SMALLEST = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}


def options_of(kind):
    """Small numbers of rollouts and of pairs, where a method has them."""
    small = {"walkers": 4, "pairs": 2, "epochs": 2, "group": 2}
    return kind.options_type(**{name: small[name] for name in small if name in kind.options_type.__dataclass_fields__})


def source():
    random = np.random.default_rng(0)

    def answers():
        prompts = random.integers(2, 12, (8, 4)).tolist()
        return Completions.of(prompts, [[*random.integers(2, 12, n).tolist(), 1] for n in random.integers(1, 4, 8)])

    def reward(index, tokens):
        return tokens.mean(1)

    first = answers()
    return TextSource(first, first, answers(), rows=4, limit=3, reward_function=reward, device=SIM)


def policy():
    return LanguagePolicy(build_model(SMALLEST).to(SIM))


def language(name):
    """Return the waits of the second of three updates: at first things get ready, and at last the losses are read."""
    marks = []
    with Machine() as machine:
        training.align(
            name, source(), policy(), options=options_of(METHODS[name]),
            training=TrainingOptions(steps=3, learning_rate=1e-3),
            progress=lambda done, _: marks.append(machine.syncs.copy()),
        )  # fmt: skip
    return dict(marks[1] - marks[0])


def sampling(limit):
    """Return the waits of sampling answers of that length, and whether the CPU samples the same ones."""
    found = []
    for device in (torch.device("cpu"), SIM):
        with Machine() as machine:
            model = policy().to(device)
            prompts = torch.randint(2, 12, (3, 4), generator=torch.Generator().manual_seed(0)).to(device)
            generator = torch.Generator().manual_seed(0)
            before = machine.syncs.copy()
            tokens = sample(model, prompts, end=1, limit=limit, generator=generator)
            waits = dict(machine.syncs - before)
            found.append((tokens.tolist(), generator.get_state().tolist()))
    return {"waits": waits, "same": found[0] == found[1], "tokens": len(found[1][0][0])}


def lake(name):
    """Train on a lake on the simulated device; return whether the policy is that of the CPU to float32."""
    mdp, tables = TabularMDP.from_map(("SF", "FG")), []
    for device in (torch.device("cpu"), SIM):
        with Machine():
            base = make_base("random", mdp, seeds=2, hidden=4, device=device)
            train(name, mdp, base, options=options_of(METHODS[name]), steps=2)
            tables.append(torch.cat([p.detach().flatten() for p in base.parameters()]).cpu())
    return bool(torch.allclose(*tables, rtol=1e-4, atol=1e-5))


def refusals():
    """Return the errors of what a device refuses, and the waits of six operations that read from it."""
    with Machine() as machine:
        x, errors = torch.arange(6.0).to(SIM), []
        for mixed in (
            lambda: x + torch.ones(6),
            lambda: torch.rand(2, device=SIM, generator=torch.Generator()),
            lambda: x.numpy(),
            lambda: torch.ones(6)[x.long()],
        ):
            try:
                mixed()
            except (RuntimeError, TypeError) as error:
                errors.append(type(error).__name__)
        none = sum(machine.syncs.values())
        read = [x.nonzero(), x[x > 2], float(x[0]), x.tolist(), x.cpu(), bool(x.any())]
        assert read[3] == [0, 1, 2, 3, 4, 5] and read[5]
        return {"errors": errors, "waits": [none, sum(machine.syncs.values())]}


def main():
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    names = sys.argv[1].split(",")
    # A teacher is known of lakes alone, not of rows of random tokens.
    taught = [name for name in names if METHODS[name].asks_teacher]
    result = {
        "language": {name: language(name) for name in names if name not in taught},
        "lakes": {name: lake(name) for name in names},
    }
    print(json.dumps(result | {"sampling": sampling(40), "refusals": refusals()}))


if __name__ == "__main__":
    main()
