"""Log lines as JSON, and spans exported by OpenTelemetry."""
