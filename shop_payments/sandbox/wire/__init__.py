"""HTTP as Stripe speaks it: requests, keys, parameters, answers and errors."""
