"""The one way to Stripe: saved attempts, turns, sending."""
