"""Time and memory of an update of a language model: `benchmarks/language_updates.py`, run from here.

python experiments/language_updates.py --trainer ift --model small
python experiments/language_updates.py --trainer trl --model small --device cuda --dtype bfloat16 --batch 64
"""

import runpy
from pathlib import Path

if __name__ == "__main__":
    runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "language_updates.py"), run_name="__main__")
