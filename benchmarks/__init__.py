"""Measurements of this package beside what its users would pick instead; no part of the installed package."""
