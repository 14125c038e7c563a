"""The recipes that need other packages: Celery with a real worker and Redis, JWT and CORS."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import redis

from tests.reliability.web import free_port
from tests.test_own_project import NAME, PASSWORD, NewProject, block, wait_until

needs_packages = pytest.mark.skipif(
    "RECIPE_PACKAGES" not in os.environ, reason="needs RECIPE_PACKAGES=DIRECTORY"
)
pytestmark = [pytest.mark.clients, needs_packages]

RECIPES = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text(encoding="utf-8")


@contextmanager
def broker() -> Iterator[str]:
    """Run a Redis that keeps nothing; yield its URL."""
    port = free_port()
    where = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"]
    running = subprocess.Popen(["redis-server", *where], stdout=subprocess.DEVNULL)
    try:
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        running.terminate()
        running.wait(30)


@contextmanager
def worker(project: NewProject) -> Iterator[None]:
    command = [sys.executable, "-m", "celery", "-A", NAME, "worker", "--pool", "solo"]
    with project.log.open("ab") as log:
        running = subprocess.Popen(
            command, cwd=project.directory, env=project.environment, stdout=log, stderr=log
        )
    try:
        yield
    finally:
        running.terminate()
        running.wait(30)


def recipe(name: str) -> str:
    return block(name, RECIPES)


class RecipeProject(NewProject):
    """A new project with blocks of docs/recipes.md."""

    def __init__(self, directory: Path, **blocks: str) -> None:
        super().__init__(directory, **blocks)
        # Beside the locked packages, because only these tests need them.
        self.environment["PYTHONPATH"] += os.pathsep + os.environ["RECIPE_PACKAGES"]

    def add(self, module: str, name: str) -> None:
        self.append(module, recipe(name))


@pytest.fixture
def project(tmp_path):
    return RecipeProject(tmp_path)


def test_a_worker_processes_the_events(project):
    project.add("settings", "celery settings")
    project.add("celery", "celery app")
    project.add("tasks", "celery tasks")
    with broker() as url:
        project.environment["CELERY_BROKER_URL"] = url
        with project.with_an_order() as browser:
            page = "/api/v1/shop/orders/1/payment-intent"
            browser.post(page, headers={"X-CSRFToken": browser.cookies["csrftoken"]})
            pay = ["shop_payments_pay", "1", "--confirm"]
            project.run([sys.executable, "manage.py", *pay])
            with redis.Redis.from_url(url) as waiting:
                wait_until(lambda: waiting.llen("celery") > 1, project.log)
            order = browser.get("/api/v1/shop/orders/1").json()["data"]
            assert order["payment_status"] == "unpaid"

            def is_paid() -> bool:
                found = browser.get("/api/v1/shop/orders/1").json()["data"]
                return bool(found["payment_status"] == "paid")

            with worker(project):
                wait_until(is_paid, project.log)


def test_a_single_page_app_pays_with_a_web_token(project):
    project.add("settings", "jwt settings")
    project.add("settings", "cors settings")
    project.add("urls", "jwt urls")
    origin = {"Origin": "https://www.example.com"}
    allowed = "Access-Control-Allow-Origin"
    with (
        project.with_an_order(customer=1) as staff,
        httpx.Client(base_url=staff.base_url, headers=origin, trust_env=False) as page,
    ):
        create = ["shop_payments_api_key", "create", "--label=app", "--scope=storefront"]
        output = project.run([sys.executable, "manage.py", *create])
        (secret,) = re.findall(r"spk_[\w-]+", output)
        path = "/api/v1/shop/orders/1/payment-intent"

        asked = {"Access-Control-Request-Method": "POST"}
        asked["Access-Control-Request-Headers"] = "authorization,x-api-key,x-order-token"
        preflight = page.options(path, headers=asked)
        who = {"username": "ada", "password": PASSWORD}
        token = page.post("/api/token/", data=who).json()["access"]
        refused = page.post(path, headers={"X-API-Key": secret})
        paid = page.post(path, headers={"X-API-Key": secret, "Authorization": f"Bearer {token}"})

    assert "x-order-token" in preflight.headers["Access-Control-Allow-Headers"]
    assert (refused.status_code, paid.status_code) == (401, 200)
    assert {each.headers[allowed] for each in (preflight, refused, paid)} == {origin["Origin"]}
