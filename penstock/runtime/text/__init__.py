"""Text that services and commands have in common: advice on limits, and sizes."""
