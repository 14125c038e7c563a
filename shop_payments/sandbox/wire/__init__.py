"""Stripe's HTTP format: requests, API keys, parameters, answers and errors."""
