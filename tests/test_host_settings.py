"""A host's settings of REST framework do not change what the API answers, byte for byte."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.api.transcript import TO

ROOT = Path(__file__).parents[1]

STRANGE = """
from rest_framework.metadata import BaseMetadata
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.pagination import LimitOffsetPagination
from rest_framework.parsers import BaseParser
from rest_framework.permissions import BasePermission
from rest_framework.renderers import BaseRenderer
from rest_framework.versioning import QueryParameterVersioning


def nothing(*args, **kwargs):
    return None


def shout(*args, **kwargs):
    return "SHOUT"


class Never(BasePermission):
    def has_permission(self, request, view):
        return False


class Text(BaseRenderer):
    media_type, format = "text/plain", "txt"

    def render(self, data, accepted_media_type=None, renderer_context=None):
        return b"text"


class AnyBody(BaseParser):
    media_type = "*/*"

    def parse(self, stream, media_type=None, parser_context=None):
        return {"amount": "0.01"}


class Says(BaseMetadata):
    def determine_metadata(self, request, view):
        return {"says": "nothing"}


class First(BaseContentNegotiation):
    def select_parser(self, request, parsers):
        return AnyBody()

    def select_renderer(self, request, renderers, format_suffix=None):
        return Text(), "text/plain"


class Pages(LimitOffsetPagination):
    default_limit = 1


class Versions(QueryParameterVersioning):
    allowed_versions = ("7",)
    default_version = "6"
"""

SETTINGS = """
from tests.settings import *
from tests.settings import REST_FRAMEWORK as _PLAIN

REST_FRAMEWORK = {
    **_PLAIN,
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


def run(tmp_path: Path, settings: str, *arguments: str) -> str:
    """Run tests in a process of their own, with these settings; return what was written down."""
    found = tmp_path / f"{settings}.txt"
    environment = {name: value for name, value in os.environ.items() if "PYTEST" not in name}
    environment.pop("DATABASE_URL", None)  # the suite's own database is in use
    environment[TO] = str(found)
    environment["PYTHONPATH"] = os.pathsep.join([str(tmp_path), str(ROOT)])
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--ds={settings}"]
    done = subprocess.run(
        [*command, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return found.read_text(encoding="utf-8") if found.exists() else ""


@pytest.mark.slow
def test_no_setting_of_the_host_changes_an_answer(tmp_path: Path):
    (tmp_path / "strange.py").write_text(STRANGE)
    (tmp_path / "strange_settings.py").write_text(SETTINGS)
    transcript, contract = "tests/api/transcript.py", "tests/api/test_views.py"

    plain = run(tmp_path, "tests.settings", transcript)
    other = run(tmp_path, "strange_settings", transcript, contract, "-k", "route or bytes")

    assert plain.count("no-store") > 40
    assert other.splitlines() == plain.splitlines()
