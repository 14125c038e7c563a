"""The one way from Stripe: what Stripe says is written onto rows, one module an object type."""
