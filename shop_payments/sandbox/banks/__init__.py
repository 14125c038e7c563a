"""Test cards and bank accounts, card numbers and currencies."""
