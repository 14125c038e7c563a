"""Take an order in a Django shop to *paid* through Stripe, and keep that true."""

__version__ = "0.1.0.dev0"
