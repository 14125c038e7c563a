"""A new project takes an order to paid by what the README says, and nothing else."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

import shop_payments

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PASSWORD = "a long password"


def block(name: str) -> str:
    """Return the README's block of that name."""
    (text,) = re.findall(rf"^<!-- own project: {name} -->\n```\w+\n(.*?)^```$", README, re.M | re.S)
    assert isinstance(text, str)
    return text


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


class NewProject:
    """What ``django-admin startproject`` makes, with the README's blocks appended."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        assert shop_payments.__file__ is not None
        package = Path(shop_payments.__file__).parents[1]
        self.ports = {"12111": free_port(), "8000": free_port()}
        export, self.shop_line, self.sandbox_line = map(
            self.on_free_ports, block("sandbox").splitlines()
        )
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not re.match(r"PYTEST|DJANGO|STRIPE|DATABASE|COV", name)
        }
        self.environment |= {
            "PYTHONPATH": str(package),
            "DJANGO_SUPERUSER_PASSWORD": PASSWORD,
            **dict(word.split("=", 1) for word in shlex.split(export)[1:]),
        }
        self.run(sys.executable, "-m", "django", "startproject", "newshop", ".")
        for name in ("settings", "urls"):
            with (directory / "newshop" / f"{name}.py").open("a", encoding="utf-8") as file:
                file.write("\n" + block(name))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports['8000']}"

    def on_free_ports(self, text: str) -> str:
        for port, free in self.ports.items():
            text = re.sub(rf"(?<=127\.0\.0\.1:){port}\b", str(free), text)
        return text

    def run(self, *command: str) -> str:
        done = subprocess.run(
            command,
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def command(self, line: str) -> list[str]:
        """Return a line of the README, told what it would ask for, and where to listen."""
        python, *words = shlex.split(line)
        assert python == "python"
        more = {
            "createsuperuser": ["--noinput", "--username=ada", "--email=ada@example.com"],
            "runserver": ["--noreload", str(self.ports["8000"])],
            "shop_payments_sandbox": ["--port", str(self.ports["12111"])],
        }
        return [sys.executable, *words, *more.get(words[1], [])]

    @contextmanager
    def serving(self, line: str, url: str) -> Iterator[None]:
        """Run what does not end by itself, from when it answers at ``url``."""
        with (self.directory / "log").open("ab") as log:
            process = subprocess.Popen(
                self.command(line),
                cwd=self.directory,
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        try:
            wait_until(lambda: answers(url), self.directory / "log")
            yield
        finally:
            process.terminate()
            process.wait(30)


def answers(url: str) -> bool:
    try:
        httpx.get(url, trust_env=False)
    except httpx.TransportError:
        return False
    return True


def wait_until(condition, log: Path) -> None:
    give_up_at = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < give_up_at, log.read_text()
        time.sleep(0.1)


@pytest.fixture
def project(tmp_path: Path) -> NewProject:
    return NewProject(tmp_path)


@pytest.fixture
def browser(project: NewProject) -> Iterator[httpx.Client]:
    """A client that sends forms as a browser does."""
    with httpx.Client(
        base_url=project.url, follow_redirects=True, timeout=60, trust_env=False
    ) as client:
        yield client


def send_form(browser: httpx.Client, path: str, **fields: object) -> httpx.Response:
    """Open a page and send its form, with what stands in its hidden fields."""
    page = browser.get(path).text
    hidden = {}
    for tag in re.findall(r'<input type="hidden"[^>]*>', page):
        name, value = (re.search(rf'{key}="([^"]*)"', tag) for key in ("name", "value"))
        if name:
            hidden[name[1]] = value[1] if value else ""
    response = browser.post(path, data={**hidden, **fields})
    assert response.status_code == 200, response.text
    assert "errorlist" not in response.text, response.text
    return response


@pytest.mark.slow
def test_a_new_project_takes_an_order_to_paid_by_the_readme(project, browser):
    *prepare, runserver = project.shop_line.split(" && ")
    for line in prepare:
        project.run(*project.command(line))
    with (
        project.serving(runserver, project.url),
        project.serving(project.sandbox_line, project.environment["STRIPE_API_BASE"]),
    ):
        send_form(browser, "/admin/login/?next=/admin/", username="ada", password=PASSWORD)
        line = {"lines-0-name": "Main product 2", "lines-0-unit_price": "56.00"}
        line |= {"lines-0-quantity": 2, "lines-TOTAL_FORMS": 1, "lines-0-id": ""}
        added = {"currency": "usd", "status": "open", **line}
        send_form(browser, "/admin/shop_payments/order/add/", **added)

        page = "/api/v1/shop/orders/1/payment-intent"
        intent = browser.post(page, headers={"X-CSRFToken": browser.cookies["csrftoken"]})
        assert intent.status_code == 200, intent.text

        (pay,) = re.findall(r"pay:\n`(python .*?)`", README)
        project.run(*project.command(pay))

        def is_paid() -> bool:
            order = browser.get("/api/v1/shop/orders/1").json()["data"]
            return bool(order["payment_status"] == "paid")

        wait_until(is_paid, project.directory / "log")


def test_what_the_settings_read_is_exported_before_the_first_command():
    exported, first = block("sandbox").splitlines()[:2]

    for name in re.findall(r'os\.environ\["(\w+)"\]', block("settings")):
        assert f"{name}=" in exported
    assert first.startswith("python manage.py migrate")
