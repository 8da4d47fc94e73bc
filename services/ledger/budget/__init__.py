"""The pure state of the budgets of one partition: holds, counters per calendar period, limits and alerts."""
