"""The drawing process: reads orders, a JSON list [runs, picture, theme, options, folder, plugins] a line, and answers each.

The answer, a line, is null, or what went wrong. Paths are relative to the folder. `worker.RenderWorker` starts this process.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from ift_gridworld.children import end_with, left_by
from ift_gridworld.plugins import load_plugins
from ift_gridworld.rendering.worker import draw_files
from ift_gridworld.runtime import loading


def serve(parent: int) -> None:
    """Draw what stdin asks for until it ends, then end the process; with the process `parent` it ends at once.

    Args:
        parent: number of the process that gives the orders.
    """
    answers, sys.stdout = sys.stdout, sys.stderr  # so that nothing printed on the way is taken for an answer
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # what is half written is removed
    end_with(left_by(parent))
    with loading():  # before the first order comes
        import ift_gridworld.rendering.method_film  # noqa: F401
    for line in sys.stdin:
        runs, picture, theme, options, folder, plugins = json.loads(line)
        error = None
        try:
            os.chdir(folder)
            load_plugins(plugins)
            draw_files([Path(run) for run in runs], Path(picture), theme, **options)
        except (ValueError, OSError) as cause:
            error = str(cause)
        print(json.dumps(error), file=answers, flush=True)
    sys.stderr.flush()
    os._exit(0)  # everything is written: taking matplotlib down in good order would only keep the caller waiting


if __name__ == "__main__":
    serve(os.getppid())
