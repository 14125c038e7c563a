"""Everything that is written to Stripe: saved attempts, turns, sending."""
