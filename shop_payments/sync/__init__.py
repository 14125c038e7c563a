"""Everything that is read from Stripe: one module for each object type applies it to the rows."""
