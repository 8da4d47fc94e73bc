"""The quota monitor (C7): usage, history and forecast of each limit, and warnings."""
