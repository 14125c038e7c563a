"""A new project follows docs/testing-your-shop.md."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import shop_payments

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "testing-your-shop.md").read_text(encoding="utf-8")

SETTINGS = """
SECRET_KEY = "x"
USE_TZ = True
ROOT_URLCONF = "urls"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "rest_framework",
    "hostshop",
    "shop_payments",
]
SHOP_PAYMENTS_ORDER_MODEL = "hostshop.Order"
SHOP_PAYMENTS = {"ORDER_ADAPTER": "hostshop.adapter.HostOrderAdapter"}
"""

URLS = """
from django.urls import include, path
from hostshop.views import order_page

urlpatterns = [
    path("en/pay/", include("shop_payments.api.urls")),
    path("orders/<uuid:pk>", order_page),
]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Create the shop of docs/own-order-model.md with the tests of the page, and without keys."""
    shutil.copytree(
        ROOT / "tests" / "hostshop",
        tmp_path / "hostshop",
        ignore=shutil.ignore_patterns(
            "test_*", "conftest.py", "factories.py", "settings.py", "urls.py", "__pycache__"
        ),
    )
    for path in (tmp_path / "hostshop").rglob("*.py"):
        path.write_text(path.read_text().replace("tests.hostshop", "hostshop"))
    (tmp_path / "settings.py").write_text(SETTINGS)
    (tmp_path / "urls.py").write_text(URLS)
    block = r"^<!-- file: (.*?) -->\n```python\n(.*?)^```$"
    for name, code in re.findall(block, PAGE, re.M | re.S):
        (tmp_path / name).write_text(code)
    return tmp_path


def run(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python in the project, with the package that these tests import."""
    assert shop_payments.__file__ is not None
    package = Path(shop_payments.__file__).parents[1]
    environment = {
        name: value
        for name, value in os.environ.items()
        if not re.match(r"PYTEST|DJANGO|STRIPE|DATABASE|COV", name)
    }
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=project,
        env={**environment, "PYTHONPATH": f"{project}{os.pathsep}{package}"},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.slow
def test_the_examples_pass_with_pytest(project):
    """With ``-p``, the plugin is loaded before Django is set up."""
    options = "--ds=settings -p shop_payments.testing.plugin -p no:cacheprovider".split()

    done = run(project, "-W", "error", "-m", "pytest", *options)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "9 passed" in done.stdout


@pytest.mark.slow
def test_the_testcase_passes_with_djangos_runner(project):
    test = ["-m", "django", "test", "test_checkout_testcase", "--settings=test_settings"]

    done = run(project, "-W", "error", *test)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "Ran 2 tests" in done.stderr


def test_the_package_needs_neither_pytest_nor_settings(project):
    done = run(
        project, "-c", "import sys; sys.modules['pytest'] = None; import shop_payments.testing"
    )

    assert done.returncode == 0, done.stderr
