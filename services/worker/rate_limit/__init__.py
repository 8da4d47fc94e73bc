"""Rate limits: how much of each (credential, model) is left, pauses, and the record that workers share."""
