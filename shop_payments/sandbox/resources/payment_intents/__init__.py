"""PaymentIntents: their operations, and how they get from status to status."""
