"""One test account: its objects, its clock, its faults and what waits to be delivered."""
