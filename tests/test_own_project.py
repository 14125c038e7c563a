"""A new project takes an order to paid by what the README says, and nothing else."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.core.management import call_command

import shop_payments
from tests.curl import parse
from tests.reliability.web import free_port

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
NAME = "myshop"
PASSWORD = "a long password"


def block(name: str, page: str = README) -> str:
    """Return the block of that name, of the README or another page."""
    of_that_name = rf"^<!-- (?:own project|recipe): {name} -->\n```\w+\n(.*?)^```$"
    (text,) = re.findall(of_that_name, page, re.M | re.S)
    assert isinstance(text, str)
    return text


def wait_until(condition: Callable[[], bool], log: Path) -> None:
    give_up_at = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < give_up_at, log.read_text()
        time.sleep(0.1)


class NewProject:
    """What ``django-admin startproject`` makes, with blocks appended: the README's by default.

    The servers use free ports, and all lines have the environment of the block of the shop.
    """

    def __init__(self, directory: Path, *, settings: str = "", urls: str = "") -> None:
        self.directory, self.log = directory, directory / "log"
        self.ports = {"12111": str(free_port()), "8000": str(free_port())}
        *exports, self.shop_line = self.lines("shop")
        (self.sandbox_line,) = self.lines("sandbox")
        unwanted = re.compile(r"PYTEST|DJANGO|STRIPE|DATABASE|COV")
        self.environment = {
            **{name: value for name, value in os.environ.items() if not unwanted.match(name)},
            "PYTHONPATH": str(Path(str(shop_payments.__file__)).parents[1]),
            "DJANGO_SUPERUSER_PASSWORD": PASSWORD,
        }
        for line in exports:
            self.export(line)
        assert block("install").splitlines()[-1] == f"django-admin startproject {NAME} ."
        call_command("startproject", NAME, str(directory))
        self.append("settings", settings or block("settings"))
        self.append("urls", urls or block("urls"))

    def lines(self, name: str) -> list[str]:
        """Return the lines of a block, without the one that activates the environment."""
        lines = block(name).splitlines()
        return [self.move(line) for line in lines if line != ". .venv/bin/activate"]

    def append(self, module: str, text: str) -> None:
        with (self.directory / NAME / f"{module}.py").open("a", encoding="utf-8") as file:
            file.write("\n" + text)

    def move(self, text: str) -> str:
        """Return a line with free ports."""
        for port, free in self.ports.items():
            text = re.sub(rf"(?<=127\.0\.0\.1:){port}\b", free, text)
        return text

    def export(self, line: str) -> None:
        """Set the variables of a line ``export NAME=value``, or ``NAME=$(command)``."""
        if match := re.fullmatch(r"export (\w+)=\$\((.*)\)", line):
            self.environment[match[1]] = self.run(self.command(match[2])).strip()
        else:
            export, *variables = shlex.split(line)
            assert export == "export"
            for each in variables:
                name, _, value = each.partition("=")
                self.environment[name] = value

    def run(self, command: list[str]) -> str:
        where: dict[str, Any] = {"cwd": self.directory, "env": self.environment}
        done = subprocess.run(command, **where, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        return str(done.stdout)

    def command(self, line: str) -> list[str]:
        """Return a line of the README, with the answers to its questions and where to listen."""
        python, *words = shlex.split(line)
        assert python == "python"
        more = {
            "createsuperuser": ["--noinput", "--username=ada", "--email=ada@example.com"],
            "runserver": ["--noreload", self.ports["8000"]],
            "shop_payments_sandbox": ["--port", self.ports["12111"]],
        }
        return [sys.executable, *words, *more.get(words[1], [])]

    def curl(self, line: str) -> httpx.Response:
        """Do what a line of curl does, with the password of ada."""
        names = {f"${name}": value for name, value in self.environment.items()}
        with httpx.Client(timeout=60, trust_env=False) as client:
            return client.send(parse(line, names, password=PASSWORD))

    @contextmanager
    def serving(self, urls: dict[str, str]) -> Iterator[None]:
        """Run lines that do not end by themselves, from when each answers at its URL."""

        def answers(url: str) -> bool:
            try:
                httpx.get(url, trust_env=False)
            except httpx.TransportError:
                return False
            return True

        where: dict[str, Any] = {"cwd": self.directory, "env": self.environment}
        with self.log.open("ab") as log:
            commands = [self.command(line) for line in urls]
            running = [subprocess.Popen(each, **where, stdout=log, stderr=log) for each in commands]
        try:
            for url in urls.values():
                wait_until(partial(answers, url), self.log)
            yield
        finally:
            for process in running:
                process.terminate()
            for process in running:
                process.wait(30)

    @contextmanager
    def served(self) -> Iterator[httpx.Client]:
        """Serve the shop and the sandbox; yield the browser of its staff."""
        url = f"http://127.0.0.1:{self.ports['8000']}"
        *prepare, runserver = self.shop_line.split(" && ")
        for line in prepare:
            self.run(self.command(line))
        browser = httpx.Client(base_url=url, follow_redirects=True, timeout=60, trust_env=False)
        sandbox = {self.sandbox_line: self.environment["STRIPE_API_BASE"]}
        with self.serving({runserver: url, **sandbox}), browser:
            send_form(browser, "/admin/login/?next=/admin/", username="ada", password=PASSWORD)
            yield browser

    @contextmanager
    def with_an_order(self, **fields: object) -> Iterator[httpx.Client]:
        """Serve the shop and the sandbox, with an order; yield the browser of its staff."""
        with self.served() as browser:
            add_order(browser, **fields)
            yield browser


def add_order(browser: httpx.Client, **fields: object) -> None:
    """Add the order of the README in the admin."""
    added: dict[str, object] = {"currency": "usd", "status": "open", "lines-TOTAL_FORMS": 1}
    goods = {"id": "", "name": "Main product 2", "quantity": 2, "unit_price": "56.00"}
    added |= {f"lines-0-{name}": value for name, value in goods.items()} | fields
    send_form(browser, "/admin/shop_payments/order/add/", **added)


def send_form(browser: httpx.Client, path: str, **fields: object) -> None:
    """Open a page and send its form as a browser does, with its hidden fields."""
    hidden = {}
    for tag in re.findall(r'<input type="hidden"[^>]*>', browser.get(path).text):
        name, value = (re.search(rf'{key}="([^"]*)"', tag) for key in ("name", "value"))
        if name:
            hidden[name[1]] = value[1] if value else ""
    response = browser.post(path, data={**hidden, **fields})
    assert response.status_code == 200, response.text
    assert "errorlist" not in response.text, response.text


@pytest.mark.slow
@pytest.mark.package
def test_a_new_project_takes_an_order_to_paid_by_the_readme(tmp_path):
    project = NewProject(tmp_path)
    with project.with_an_order() as browser:
        shown = browser.get("/admin/shop_payments/order/1/change/").text
        assert "The customer has not begun to pay." in shown
        add_order(browser, customer=1)

        path = re.findall(r"open\s<http://127\.0\.0\.1:8000(/\S+)>\.\sIt\ssays\s\"405", README)[0]
        assert "405 Method Not Allowed" in browser.get(path, headers={"Accept": "text/html"}).text
        by_button = browser.post(path, headers={"X-CSRFToken": browser.cookies["csrftoken"]})
        assert by_button.status_code == 200, by_button.text

        *exports, call_1 = project.lines("client")
        for line in exports:
            project.export(line)
        assert project.curl(call_1).json() == by_button.json()

        pay, get_order = project.lines("pay")
        project.run(project.command(pay))
        wait_until(lambda: '"payment_status":"paid"' in project.curl(get_order).text, project.log)
