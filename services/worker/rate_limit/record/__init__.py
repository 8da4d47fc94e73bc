"""The shared quota record as pure data: what was spent, what is free, and how leases are allocated."""
