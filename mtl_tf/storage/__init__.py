"""Files, here or far away, and what is in them: bytes, pixels, texts, JSON sections. Knows no task."""
