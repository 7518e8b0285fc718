"""The drawing process: reads orders, one JSON list [runs, picture, theme] a line, and answers each with a line."""

import json
import os
import sys
from pathlib import Path

from ift_gridworld.rendering.worker import draw
from ift_gridworld.runtime import loading

with loading():  # before the first order comes
    import ift_gridworld.rendering.method_film  # noqa: F401

for line in sys.stdin:
    runs, picture, theme = json.loads(line)
    try:
        answer = {"picture": str(draw([Path(run) for run in runs], Path(picture), theme))}
    except (ValueError, OSError) as error:
        answer = {"error": str(error)}
    print(json.dumps(answer), flush=True)
os._exit(0)  # everything is written: taking matplotlib down in good order would only keep the caller waiting
