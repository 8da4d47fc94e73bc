"""Rate limits, enforced and reported as providers do."""
