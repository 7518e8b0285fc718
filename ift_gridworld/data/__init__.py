"""Data that methods learn from: trajectories, rollouts, demonstrations, preference pairs."""
