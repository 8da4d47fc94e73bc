"""What the simulated models answer, decided by the name of the model and the messages alone."""
