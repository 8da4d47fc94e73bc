"""Makes the weights of the classifiers again: `python -m services.guard.classifier.training tests/data/guard`."""
