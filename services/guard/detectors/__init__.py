"""Detectors behind one interface, and how they are run: in parallel, each with its own timeout and limits."""
