"""Webhooks: the forms of events, and their signed delivery until an endpoint accepts them."""
