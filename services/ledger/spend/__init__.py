"""The spend history: rows, the chunks that store them, queries, rollups and forecasts."""
