"""Hosts with their own order model, and with their own settings of REST framework."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.api.transcript import TO
from tests.api.transcript import test_write_what_every_route_answers as write_transcript

ROOT = Path(__file__).parents[1]
UNUSED = ("cacheprovider", "xdist", "pytest_cov", "hypothesispytest")
PYTEST = [sys.executable, "-m", "pytest", "-q", *(f"-pno:{plugin}" for plugin in UNUSED)]

STRANGE = """
from rest_framework.metadata import BaseMetadata
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.pagination import LimitOffsetPagination
from rest_framework.parsers import BaseParser
from rest_framework.permissions import BasePermission
from rest_framework.renderers import BaseRenderer
from rest_framework.versioning import QueryParameterVersioning

def nothing(*args, **kwargs): return None
def shout(*args, **kwargs): return "SHOUT"

class Never(BasePermission):
    def has_permission(self, request, view): return False

class Text(BaseRenderer):
    media_type, format = "text/plain", "txt"
    def render(self, *args, **kwargs): return b"text"

class AnyBody(BaseParser):
    media_type = "*/*"
    def parse(self, *args, **kwargs): return {"amount": "0.01"}

class Says(BaseMetadata):
    def determine_metadata(self, request, view): return {"says": "nothing"}

class First(BaseContentNegotiation):
    def select_parser(self, request, parsers): return AnyBody()
    def select_renderer(self, *args, **kwargs): return Text(), "text/plain"

class Pages(LimitOffsetPagination):
    default_limit = 1

class Versions(QueryParameterVersioning):
    allowed_versions, default_version = ("7",), "6"
"""

SETTINGS = """
from tests.settings import *

REST_FRAMEWORK |= {
    "DEFAULT_RENDERER_CLASSES": ["strange.Text"],
    "DEFAULT_PARSER_CLASSES": ["strange.AnyBody"],
    "DEFAULT_PERMISSION_CLASSES": ["strange.Never"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "strange.First",
    "DEFAULT_METADATA_CLASS": "strange.Says",
    "DEFAULT_VERSIONING_CLASS": "strange.Versions",
    "DEFAULT_PAGINATION_CLASS": "strange.Pages",
    "DEFAULT_FILTER_BACKENDS": ["rest_framework.filters.SearchFilter"],
    "PAGE_SIZE": 1,
    "VIEW_NAME_FUNCTION": "strange.shout",
    "VIEW_DESCRIPTION_FUNCTION": "strange.shout",
    "EXCEPTION_HANDLER": "strange.nothing",
    "NON_FIELD_ERRORS_KEY": "__all__",
    "LIST_SERIALIZER_ERRORS_AS_DICT": True,
    "URL_FORMAT_OVERRIDE": "page",
    "FORMAT_SUFFIX_KWARG": "order_id",
    "URL_FIELD_NAME": "id",
    "DATETIME_FORMAT": "%d.%m.%y",
    "DATE_FORMAT": None,
    "UNICODE_JSON": False,
    "COMPACT_JSON": False,
    "STRICT_JSON": False,
    "COERCE_DECIMAL_TO_STRING": False,
    "COERCE_BIGINT_TO_STRING": True,
    "UNAUTHENTICATED_TOKEN": "builtins.dict",
    "ALLOWED_VERSIONS": ["7"],
    "DEFAULT_VERSION": "6",
}
# No settings of REST framework, but they look like some.
TIME_ZONE = "America/Los_Angeles"
USE_THOUSAND_SEPARATOR = True
LANGUAGE_CODE = "en-gb"
"""


def run(settings: str, *arguments: str, **environment: str) -> str:
    """Run tests in a process of their own, with these settings; return what it prints."""
    # What belongs to this run (its worker, its options, its database) is not the other's.
    inherited = {name: value for name, value in os.environ.items() if "PYTEST" not in name}
    done = subprocess.run(
        [*PYTEST, f"--ds={settings}", *arguments],
        cwd=ROOT,
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_shop_with_its_own_order_takes_payments():
    """The order model is settled at import, so its tests need another process."""
    assert re.search(r"^[1-9]\d* passed", run("tests.hostshop.settings", "tests/hostshop"), re.M)


@pytest.mark.slow
@pytest.mark.django_db
def test_no_setting_of_the_host_changes_an_answer(tmp_path: Path, monkeypatch):
    """Byte for byte. REST framework's settings are read at import, so they need a process, too."""
    monkeypatch.delenv("DATABASE_URL", raising=False)  # the suite's own database is in use
    (tmp_path / "strange.py").write_text(STRANGE)
    (tmp_path / "strange_settings.py").write_text(SETTINGS)
    plain, other = tmp_path / "plain.txt", tmp_path / "other.txt"
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    strange = ("strange_settings", "tests/api/transcript.py", "--nomigrations")

    with ThreadPoolExecutor() as pool:
        in_another = pool.submit(run, *strange, **{TO: str(other), "PYTHONPATH": path})
        monkeypatch.setenv(TO, str(plain))
        write_transcript()
        assert in_another.result()

    assert plain.read_text("utf-8").count("no-store") > 40
    assert other.read_text("utf-8").splitlines() == plain.read_text("utf-8").splitlines()
