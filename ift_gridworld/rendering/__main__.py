"""The drawing process: reads orders, one JSON list [record, picture, theme] a line, and answers each with a line."""

import json
import sys
from pathlib import Path

import ift_gridworld.rendering.film  # noqa: F401 (loaded before the first order comes)
from ift_gridworld.rendering.studio import draw

for line in sys.stdin:
    record, picture, theme = json.loads(line)
    try:
        answer = {"picture": str(draw(Path(record), Path(picture), theme))}
    except (ValueError, OSError) as error:
        answer = {"error": str(error)}
    print(json.dumps(answer), flush=True)
