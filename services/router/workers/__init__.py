"""Live workers and routers, from their heartbeats."""
