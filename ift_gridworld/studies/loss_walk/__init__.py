"""A walk through the losses: one pair of answers on a lake, what each loss makes of it, and why."""
