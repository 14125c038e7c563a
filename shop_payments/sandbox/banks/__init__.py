"""What the sandbox's banks know: test cards and accounts, card numbers and currencies."""
