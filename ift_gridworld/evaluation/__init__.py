"""Exact metrics of a policy, what each method assumes of its model (Table 1), and statistics over lakes and seeds."""
