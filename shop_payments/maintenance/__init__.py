"""Periodic work: the sweep, cancellations, expiring authorizations, retention."""
