"""CSV files of a list: all rows of the current filters, search and order, not only one page."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, tzinfo
from itertools import islice
from typing import Any, ClassVar

from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.utils.cache import add_never_cache_headers
from django.utils.timezone import get_current_timezone

from shop_payments.admin.base import admin_url
from shop_payments.models.words import local_time

Column = tuple[Any, Callable[[Any], object]]
"""The title of a column, and the function that returns its value for a row."""

_AT_ONCE = 500
"""Rows that are read at a time, so that a file of any length takes little memory."""

_BOM = "\ufeff"
"""Without it, spreadsheets do not take the file for UTF-8."""

_BEGINS = r"[=+\-@\uff1d\uff0b\uff0d\uff20]"
"""What a formula begins with, also in the wide characters of Japanese."""

_FORMULA = re.compile(rf"^(?=[\t\r\n]|{_BEGINS})|(?<=[;|\t\r\n])(?=\"*{_BEGINS})")
"""Where a text becomes a formula in a spreadsheet, which may take other characters than the comma
for the end of a cell, for example the semicolon in German.

See: https://owasp.org/www-community/attacks/CSV_Injection (checked 2026-11)
"""


class ExportMixin:
    """A list with a CSV file of its rows, for staff who may view the list."""

    export_columns: ClassVar[Sequence[Column]]

    admin_site: Any
    opts: Any

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.export_view)
        name = f"{self.opts.app_label}_{self.opts.model_name}_export"
        urls: list[URLPattern] = super().get_urls()  # type: ignore[misc]
        return [path("export.csv", view, name=name), *urls]

    def export_view(self, request: HttpRequest) -> HttpResponseBase:
        """Return the rows that the list shows on all of its pages together."""
        model_admin: Any = self
        if not model_admin.has_view_permission(request):
            raise PermissionDenied
        try:
            rows = model_admin.get_changelist_instance(request).queryset
        except IncorrectLookupParameters:
            name = f"{self.opts.app_label}_{self.opts.model_name}_changelist"
            return redirect(admin_url(self.admin_site, name))
        # Read now: while the file is sent, a middleware may have ended the request's time zone.
        zone = get_current_timezone()
        titles = [str(title) % {"zone": zone} for title, _value in self.export_columns]
        lines = self._lines(rows, titles, zone)
        response = StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")
        file_name = f"{self.opts.model_name}-{datetime.now(zone):%Y-%m-%d}.csv"
        response["Content-Disposition"] = f'attachment; filename="{file_name}"'
        add_never_cache_headers(response)
        return response

    def _lines(self, rows: Any, titles: list[str], zone: tzinfo) -> Iterator[str]:
        writer = csv.writer(_Echo())
        yield _BOM + writer.writerow(titles)
        found = rows.iterator(chunk_size=_AT_ONCE)
        while chunk := [*islice(found, _AT_ONCE)]:
            self.read_more(chunk)  # type: ignore[attr-defined]
            for row in chunk:
                yield writer.writerow(
                    [cell(value(row), zone) for _title, value in self.export_columns]
                )


class _Echo:
    """A file that returns what is written to it."""

    def write(self, text: str) -> str:
        return text


def cell(value: object, zone: tzinfo) -> str:
    """Return a value as the text of a cell that no spreadsheet takes for a formula."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return f"{local_time(value).astimezone(zone):%Y-%m-%d %H:%M:%S}"
    text = str(value)
    # Amounts may be negative; anything else that begins like a formula is text of a customer.
    is_number = text.removeprefix("-").replace(".", "", 1).isdigit()
    return text if is_number else _FORMULA.sub("'", text)
