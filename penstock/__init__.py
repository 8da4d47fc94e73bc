"""What every process shares, and what an application imports."""
