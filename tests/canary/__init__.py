"""Secrets stay where they belong: every secret in play is known, and looked for everywhere.

The real flow runs over HTTP against the sandbox, with everything going wrong that can. Afterwards
no log record, row, page, answer, repr or traceback may hold a secret, or half of one. The one
exception: the two calls that hand a customer the client secret of their order.
"""
