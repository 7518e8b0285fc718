"""The drawing process: reads orders, one JSON list [records, picture, theme, folder] a line, and answers each with a line.

The answer is null, or what went wrong. Paths are relative to the folder. `worker.RenderWorker` starts this process.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from ift_gridworld.rendering.worker import draw
from ift_gridworld.runtime import loading


def serve() -> None:
    """Draw what stdin asks for until it ends, then end the process."""
    answers, sys.stdout = sys.stdout, sys.stderr  # so that nothing printed on the way is taken for an answer
    with loading():  # before the first order comes
        import ift_gridworld.rendering.method_film  # noqa: F401
    for line in sys.stdin:
        records, picture, theme, folder = json.loads(line)
        error = None
        try:
            os.chdir(folder)
            draw([Path(record) for record in records], Path(picture), theme)
        except (ValueError, OSError) as cause:
            error = str(cause)
        print(json.dumps(error), file=answers, flush=True)
    sys.stderr.flush()
    os._exit(0)  # everything is written: taking matplotlib down in good order would only keep the caller waiting


if __name__ == "__main__":
    serve()
