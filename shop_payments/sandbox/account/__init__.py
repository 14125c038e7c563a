"""The state of the test account: objects, clock, faults and pending deliveries."""
