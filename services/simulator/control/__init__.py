"""The control routes of the simulator, and its true counts of what was asked."""
