"""From the events of a reply to an HTTP answer, whole or streamed."""
