"""What runs now and then: the sweep, cancellations, expiring authorizations, retention."""
