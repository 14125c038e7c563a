"""Take Stripe payments for the orders of a Django shop, and keep their payment status correct."""

__version__ = "0.1.0.dev0"
