"""Five ways in which alignment fails, each with its cause: computed on a lake and counted over seeds."""
