"""The lists of large tables: what they count, sort and filter by, and how staff search them.

Note [Large tables]
~~~~~~~~~~~~~~~~~~~
A shop may have millions of orders, and the database must read little more than the rows that a page
shows. So a list is sorted and filtered by indexed columns only, counts the rows of a few pages and
not of the table, offers known values instead of asking the table for them, and is searched for
whole ids and numbers. ``tests/test_query_plans.py`` fails if a page reads a large table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import quote
from django.contrib.admin.views.main import PAGE_VAR, ChangeList
from django.core.exceptions import BadRequest, PermissionDenied, ValidationError
from django.core.paginator import Paginator
from django.db import DataError, router
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.functional import cached_property, lazy
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext

from shop_payments.admin.base import admin_url, moment_text
from shop_payments.admin.confirm_many import action_in
from shop_payments.models.words import humanize
from shop_payments.prepared import planned_by_value

if TYPE_CHECKING:
    _Paginator = Paginator[Any]
else:
    # The stubs' class takes a parameter, Django's does not.
    _Paginator = Paginator

_PAGES_AHEAD = 9
"""Pages after the current one that are counted, and that staff can go to at once."""

_LONGEST_SEARCH = 255
"""No id, name or address is longer. A database refuses the conditions for thousands of words."""

_LAST_PAGE = 100_000
"""A number beyond any list, that the database still accepts as an offset."""


class BoundedPaginator(_Paginator):
    """Counts the rows up to a few pages after the current one, not all rows."""

    has_more = False
    """Whether there are more rows than ``count``. Known after ``count``."""

    def __init__(self, *args: Any, page: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._limit = (page + _PAGES_AHEAD) * self.per_page

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        found: int = rows[: self._limit + 1].count()
        self.has_more = found > self._limit
        return min(found, self._limit)


class CheckedRows(ChangeList):
    """A list whose rows are read at once, so that a value in the URL is refused in time."""

    def url_for_result(self, result: Any) -> str:
        # As Django's, but without a search through the URLs of the project for each row.
        return f"{self._url}{quote(result.pk)}/change/"

    @cached_property
    def _url(self) -> str:
        meta = self.opts
        return admin_url(
            self.model_admin.admin_site, f"{meta.app_label}_{meta.model_name}_changelist"
        )

    def get_results(self, request: HttpRequest) -> None:
        try:
            super().get_results(request)
            self.result_list = list(self.result_list)
        # The value is too large for the column, or no text that the database can store.
        except (DataError, OverflowError, ValueError) as error:
            raise IncorrectLookupParameters(error) from error


class CheckedPagesMixin:
    """Pages that refuse what they cannot use in a request, where Django's own would fail."""

    _lookups = frozenset({"exact", "gt", "gte", "lt", "lte", "isnull"})
    """Others fail for some values only when the database runs them, as a wrong regex does."""

    model: Any

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        _path, is_named, name = lookup.rpartition("__")
        is_known = not is_named or name in self._lookups
        admin: Any = super()
        return is_known and bool(admin.lookup_allowed(lookup, value, request))

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return CheckedRows

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        admin: Any = super()
        # Here the rows are searched, filtered, counted and read.
        with planned_by_value(router.db_for_read(self.model)):
            return admin.get_changelist_instance(request)

    def get_object(self, request: HttpRequest, object_id: str, from_field: Any = None) -> Any:
        admin: Any = super()
        return admin.get_object(request, object_id, from_field or None)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        admin: Any = super()
        self._check_action(request)
        page: HttpResponse = admin.changelist_view(request, extra_context)
        return page

    def _check_action(self, request: HttpRequest) -> None:
        model_admin: Any = self
        action = action_in(request)
        # Django answers with the list, as if no action had been chosen.
        if action and action not in model_admin.get_actions(request):
            raise PermissionDenied
        key = self.model._meta.pk
        try:
            for text in request.POST.getlist(ACTION_CHECKBOX_NAME):
                key.run_validators(key.to_python(text))
        except ValidationError as error:
            raise BadRequest("The key of a selected row is invalid.") from error


class Rows(CheckedRows):
    """A list that is sorted by the columns in ``sortable_by`` only."""

    def get_ordering_field(self, field_name: Any) -> Any:
        # Django only leaves out the links of other columns. An old bookmark may still name one.
        is_sortable = field_name in (self.sortable_by or ())
        return super().get_ordering_field(field_name) if is_sortable else None

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.model_admin.read_more(self.result_list)  # type: ignore[attr-defined]
        if getattr(self.paginator, "has_more", False):
            # Beside the search field, the limit would look like the number of results.
            self.full_result_count = self.result_count


class LargeListMixin(CheckedPagesMixin):
    """The list of a table that may be large. See Note [Large tables]."""

    list_per_page: ClassVar[int] = 50
    # Otherwise all rows of the table are counted, too.
    show_full_result_count = False
    # Counts by filter would read the whole table once for each value.
    show_facets = admin.ShowFacets.NEVER
    sortable_by: ClassVar[Any] = ()
    search_fields: ClassVar[Any] = ()
    """Columns with an index, in which a search looks for the exact text."""

    model: Any

    @admin.display(description=mark_safe('<input type="checkbox" id="action-toggle">'))
    def action_checkbox(self, obj: Any) -> SafeString:
        # As Django's, without a template for each row: those took a fifth of the page's time.
        label = format_html(gettext("Select this object for an action - {}"), str(obj))
        return format_html(
            '<input type="checkbox" name="{}" value="{}" aria-label="{}" class="action-select">',
            *(ACTION_CHECKBOX_NAME, obj.pk, label),
        )

    def read_more(self, rows: Sequence[Any]) -> None:
        """Read what the columns show of other tables, with one query for all rows of the page."""

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return Rows

    def get_paginator(
        self,
        request: HttpRequest,
        queryset: QuerySet[Any],
        per_page: int,
        orphans: int = 0,
        allow_empty_first_page: bool = True,
    ) -> BoundedPaginator:
        page = _page_number(request)
        return BoundedPaginator(queryset, per_page, orphans, allow_empty_first_page, page=page)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Keep the rows of the first search that finds any. Each reads a few rows by an index."""
        text = search_term.strip()
        if not text:
            return queryset, False
        if len(text) > _LONGEST_SEARCH:
            return queryset.none(), False
        # One condition with OR over several tables could not use their indexes.
        for rows in self.searches(text):
            if self._finds_any(rows):
                return queryset.filter(rows), False
        return queryset.none(), False

    def searches(self, text: str) -> Iterator[Q]:
        """Yield the conditions that find ``text``, the most exact one first."""
        for path in self.search_fields:
            yield Q(**{path: text})

    def _finds_any(self, rows: Q) -> bool:
        try:
            return bool(self.model._base_manager.filter(rows).exists())
        except (ValidationError, ValueError):
            return False  # the text is not a value of the field, for example not a UUID


def _page_number(request: HttpRequest) -> int:
    text = request.GET.get(PAGE_VAR, "")
    is_number = text.isascii() and text.isdigit() and len(text) <= len(str(_LAST_PAGE))
    return min(int(text), _LAST_PAGE) if is_number else 1


def time_column(field: str, title: Any) -> Callable[[Any, Any], Any]:
    """Return a column with the time at which a row was inserted, sorted by the primary key.

    The primary keys are in the order of these times, and their index exists anyway.
    """

    @admin.display(description=title, ordering="pk")
    def column(model_admin: Any, row: Any) -> Any:
        return moment_text(getattr(row, field))

    return column


class KnownValuesFilter(admin.ChoicesFieldListFilter):
    """A filter by the values that the app knows. Django would look for all values in the table.

    A value that Stripe has added since is not offered, but can be written into the URL.
    """

    values: ClassVar[tuple[tuple[str, Any], ...]] = ()

    def __init__(self, field: Any, *args: Any, **kwargs: Any) -> None:
        field = copy(field)
        field.choices = self.values
        super().__init__(field, *args, **kwargs)


def known_values(field: str, values: Iterable[str]) -> tuple[str, type[KnownValuesFilter]]:
    """Return a filter by these values of a field."""
    return _filter_by(field, {value: value for value in values})


def known_words(field: str, values: Iterable[str]) -> tuple[str, type[KnownValuesFilter]]:
    """Return a filter by these codes of Stripe, shown as words."""
    return _filter_by(field, {value: _humanized(value) for value in values})


_humanized: Any = lazy(humanize, str)


def _filter_by(field: str, titles: dict[str, Any]) -> tuple[str, type[KnownValuesFilter]]:
    values = tuple((str(value), title) for value, title in titles.items())
    return field, type("ValuesFilter", (KnownValuesFilter,), {"values": values})
