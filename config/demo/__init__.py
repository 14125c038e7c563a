"""The pieces of ``manage.py demo``.

``data`` makes the rows, ``servers`` the two servers, ``http`` the calls, ``contract`` says what
the answers must be, ``story`` tells it all in order.
"""
