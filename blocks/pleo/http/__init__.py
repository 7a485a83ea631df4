"""Talking to Pleo: one client, its transport, pacing and retries."""
