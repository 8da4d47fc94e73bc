"""What every service shares: its shell, its consumer, its configuration and its telemetry."""
