"""The settings of the demo project, with the kept connections that the minimum has.

A pool tests each connection before it lends it. That is a round trip for each request.
"""

from config.settings import *  # noqa: F403
from config.settings import DATABASES

DATABASES["default"]["OPTIONS"].pop("pool")
DATABASES["default"]["CONN_MAX_AGE"] = 60
