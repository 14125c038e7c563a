"""Webhooks: the forms of events, and their signed deliveries with retries."""
