"""`python -m ift_gridworld`: the command `ift-gridworld`."""

from ift_gridworld.cli.main import main

raise SystemExit(main())
