"""The quota monitor (REQUIREMENTS C7): usage, history and forecast of each limit, and warnings."""
