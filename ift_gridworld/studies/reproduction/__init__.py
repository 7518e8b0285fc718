"""The reproduction of the paper's claims about the lake: design, parts, findings and figures.

This file loads nothing, so that worker processes load only what a part needs.
"""
