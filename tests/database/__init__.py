"""An app of the tests' settings, with a faster ``flush``."""
