"""The life of a job record: its transitions, its end, and how many records an account may keep."""
