"""The control routes of the simulator and its exact counts of the requests it received."""
