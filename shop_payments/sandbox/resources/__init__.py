"""Stripe's objects: what each operation takes, does and answers."""
