"""Start-up: a fresh Python until a package is imported, or --help is answered."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

from benchmarks.comparison import EXPERIMENTS, Comparison, compare, seconds

__all__ = ["startup"]


def startup(pairs: int) -> list[Callable[[], Comparison]]:
    """Seconds of a fresh Python until a name is there, or --help is answered."""

    def start(*arguments: str) -> Callable[[], float]:
        return lambda: seconds(lambda: subprocess.run([sys.executable, *arguments], check=True, capture_output=True))

    script = str(EXPERIMENTS / "frozen_lake.py")
    package, gym, sb3 = (start("-c", f"import {name}") for name in ("ift_gridworld", "gymnasium", "stable_baselines3"))
    return [
        lambda: compare("import ift_gridworld", "import gymnasium", package, gym, "s", pairs),
        lambda: compare(
            "import ift_gridworld", "import stable_baselines3", package, sb3, "s", pairs, needs="stable_baselines3"
        ),
        lambda: compare("frozen_lake.py --help", "import gymnasium", start(script, "--help"), gym, "s", pairs),
    ]
