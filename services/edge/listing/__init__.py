"""What the gateway serves: roles, models and live workers."""
