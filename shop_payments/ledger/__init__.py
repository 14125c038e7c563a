"""The one writer of payment rows: lock, unit of work, evaluation, facts, notifications, reviews."""
