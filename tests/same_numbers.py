"""Do a dozen runs give the same numbers as at another commit?

    python tests/same_numbers.py REVISION

Checks the revision out beside this one, runs the same command lines in both with the same interpreter, and compares the
metrics, losses, steps and policies that they write, to the last digit. Exit status 1 if any number differs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RUNS = (
    "--method all --steps 40 --seeds 2",
    "--method all --steps 24 --seeds 3 --map 4x4 --slippery --policy tabular",
    "--method sft,ift,dpo --map 8x8 --steps 60 --seeds 2 --seed 5",
    "--method ift --mixing 0.7 --decay 0.5 --propagation algorithm1 --steps 50",
    "--method ift --propagation equation21 --optimiser rmsprop --steps 50 --base random",
    "--method ppo --reward preference --steps 24 --seeds 2",
    "--method grpo --map bridge --size 6x8 --slippery --success-rate 0.8 --steps 16 --seeds 2",
    "--method sft,ift,tdpo --map CliffWalking-v1 --steps 20 --seeds 2",
    "--method ift --map Taxi-v4 --steps 10 --seeds 1 --policy tabular",
    "--method sft,ift --map random --size 7 --map-seed 3 --steps 30 --seeds 2 --demonstrations 5",
    "--method ift,dpo_online --map open --size 40 --policy tabular --steps 12 --seeds 1 --snapshots 5",
    "--method ipo,simpo,orpo --beta 0.3 --base uniform --hidden 16 --steps 30 --seeds 4 --discount 0.9",
)
COMPARED = ("steps", "metrics", "loss", "optimum", "snapshots", "base", "final", "tables", "estimation")


def run(root: Path, arguments: str, out: Path) -> dict[str, dict[str, object]]:
    """What one command line writes, by file."""
    command = [sys.executable, str(root / "experiments" / "frozen_lake.py"), *arguments.split(), "--out", str(out)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ | {"PYTHONPATH": str(root)})
    return {path.name: json.loads(path.read_text()) for path in sorted(out.glob("*.json"))}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("revision", help="the commit to compare with")
    revision = parser.parse_args().revision
    differing = files = 0
    with tempfile.TemporaryDirectory() as folder:
        before = Path(folder) / "before"
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", before, revision], cwd=ROOT, check=True)
        try:
            for number, arguments in enumerate(RUNS):
                old, new = (run(root, arguments, Path(folder) / f"{root.name}-{number}") for root in (before, ROOT))
                wrong = sorted(old.keys() ^ new.keys())
                for name in old.keys() & new.keys():
                    files += 1
                    wrong += [f"{name}: {key}" for key in COMPARED if old[name].get(key) != new[name].get(key)]
                differing += len(wrong)
                print(f"{'DIFFERS ' + ', '.join(wrong) if wrong else 'same'}  {arguments}", flush=True)
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", before], cwd=ROOT, check=True)
    print(f"{files} saved runs compared, {differing} differences")
    return int(differing > 0)


if __name__ == "__main__":
    raise SystemExit(main())
