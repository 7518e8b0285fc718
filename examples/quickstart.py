"""Train, save, draw and compare in a few lines.

    python examples/quickstart.py

Writes runs/quickstart/: two saved runs, a film of each method beside the other, a figure for a paper, and a page.
"""

from pathlib import Path

from ift_gridworld import Run, TabularMDP, compare, train
from ift_gridworld.training import make_base


def main(out: Path = Path("runs/quickstart"), steps: int = 200) -> None:
    """Align the same base by SFT and by IFT, and put them side by side."""
    mdp = TabularMDP.make("two-paths")  # also "8x8", "6x9" (random), a map file, "CliffWalking-v1", "Taxi-v4"
    runs = []
    for method in ("sft", "ift"):
        base = make_base("mixture", mdp, policy="mlp", seeds=4)  # four networks, trained at once
        runs.append(train(method, mdp, base, steps=steps))

    out.mkdir(parents=True, exist_ok=True)
    saved = [run.save(out / f"{run.method}.json") for run in runs]
    both = compare([Run.load(path) for path in saved])  # from the files: nothing is trained again
    both.film(out / "both.gif")
    both.figure(out / "both.pdf", width="column")
    both.page(out / "both.html")
    print(both.table())


if __name__ == "__main__":
    main()
