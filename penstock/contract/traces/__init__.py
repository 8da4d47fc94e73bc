"""What processes tell each other about traces."""
