"""What the gateway serves: roles and live workers."""
