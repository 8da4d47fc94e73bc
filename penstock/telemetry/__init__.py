"""Traces, metrics and log lines, the same in every process."""
