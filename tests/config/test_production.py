"""The project in production, for real: gunicorn with threads, PostgreSQL with the pool, no DEBUG.

Requests come as from the proxy in front, which speaks TLS with customers. Stripe is the sandbox.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from datetime import timedelta
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connection
from django.test import override_settings
from django.utils import timezone
from rest_framework.authtoken.models import Token

from shop_payments.checkout.links import checkout_url
from shop_payments.models import APIKeyScope, Order, OrderPayment, ReviewItem
from shop_payments.sandbox import SandboxServer
from shop_payments.testing import StripeSandbox, sign_event
from tests.factories import OrderFactory
from tests.reliability.servers import Cluster, find_binaries, looking_at
from tests.reliability.web import PATIENCE, ROOT, Answer, Call, free_port, send
from tests.support import BASE, Caller, issue_key
from tests.test_snippets import SNIPPETS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        connection.vendor == "sqlite",
        reason="starts its PostgreSQL itself: it runs with the suite on PostgreSQL",
    ),
    pytest.mark.skipif(
        find_binaries() is None,
        reason="no initdb here: install postgresql, or say in POSTGRES_BIN where it is",
    ),
]

OLD, NEW = "whsec_of_yesterday", "whsec_of_today"
THREADS = 6
FROM_THE_PROXY = {"X-Forwarded-Proto": "https"}
ENVIRONMENT = {
    "DJANGO_ALLOWED_HOSTS": "127.0.0.1",
    "DJANGO_DEBUG": "0",
    "DJANGO_LOG_FORMAT": "json",
    "DJANGO_NUM_PROXIES": "1",
    "DJANGO_PROXY_SSL_HEADER": "X-Forwarded-Proto: https",
    "DJANGO_SECRET_KEY": "of-the-production-" + "0123456789abcdefghijklmnopqrstuvwxyz",
    "DJANGO_THREADS": str(THREADS),
    "STRIPE_PUBLISHABLE_KEY": "pk_test_of_production",
    "STRIPE_SECRET_KEY": "sk_test_of_production",
    "STRIPE_WEBHOOK_SECRET": f"{NEW},{OLD}",
    "WEB_CONCURRENCY": "1",
}
SECRETS = ("sk_test_of_production", OLD, NEW, "_secret_", "of-the-production-")


class Production:
    """The project on its server, and what is around it."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster, self.stripe = cluster, StripeSandbox()
        self.log, self.folder = folder / "log", folder
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self.socket = folder / "gunicorn.sock"
        self._sandbox = SandboxServer(self.stripe)
        ours = ("DJANGO_", "STRIPE_", "DATABASE_URL", "CACHE_URL", "PYTEST_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        self._environ = {
            **kept,
            **ENVIRONMENT,
            "DATABASE_URL": f"{cluster.url('shop')}?application_name=web",
            "DJANGO_STATIC_ROOT": str(folder / "static"),
        }

    def __enter__(self) -> Production:
        with ExitStack() as stack:
            stack.enter_context(self._sandbox)
            self._environ["STRIPE_API_BASE"] = self._sandbox.url
            self.cluster.execute("CREATE DATABASE shop")
            self.manage("migrate", "--no-input", "-v0")
            self.manage("collectstatic", "--no-input", "-v0")
            self._start()
            stack.callback(self.stop)
            self.wait_for("/readyz", 200)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def manage(self, *words: str, status: int = 0, **environ: str) -> str:
        """Run a command as in production; return what it prints."""
        command = [sys.executable, "-W", "error", "manage.py", *words]
        return self.run(command, status=status, **environ)

    def run(self, command: Sequence[str], *, status: int = 0, **environ: str) -> str:
        """Run a program with the variables of production."""
        environ = {**self._environ, **environ}
        done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    def _start(self) -> None:
        command = [sys.executable, "-m", "gunicorn", "config.wsgi"]
        command += ["--config", "python:config.gunicorn"]
        command += ["--bind", f"127.0.0.1:{self._port}", "--bind", f"unix:{self.socket}"]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=self._environ,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(20)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(PATIENCE)

    def call(self, call: Call) -> Answer:
        call.headers.update(FROM_THE_PROXY)
        answer = send(self.url, call)
        assert answer is not None, self.log.read_text()[-4000:]
        return answer

    def health(self, path: str) -> tuple[int, Any]:
        """Ask as a load balancer does: in plain HTTP, and by an address of its own."""
        answer = send(self.url, Call(method="GET", path=path, headers={"Host": "10.0.0.7"}))
        assert answer is not None, self.log.read_text()[-4000:]
        return answer.status, answer.json()

    def wait_for(self, path: str, status: int) -> None:
        deadline = time.monotonic() + PATIENCE
        probe = Call(method="GET", path=path)
        while (answer := send(self.url, probe)) is None or answer.status != status:
            assert time.monotonic() < deadline, f"{answer}\n{self.log.read_text()[-4000:]}"
            assert self._process.poll() is None, self.log.read_text()[-4000:]
            time.sleep(0.1)

    def entries(self) -> list[dict[str, Any]]:
        """Return what was logged; every line is an object."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def backends(self) -> set[int]:
        """Return the processes of PostgreSQL that serve the web server."""
        with psycopg.connect(self.cluster.url("postgres"), autocommit=True) as database:
            rows = database.execute(
                "SELECT pid FROM pg_stat_activity WHERE datname = 'shop'"
                " AND application_name = 'web'"
            )
            return {row[0] for row in rows}


@pytest.fixture(scope="module")
def production(tmp_path_factory, django_db_blocker) -> Iterator[Production]:
    binaries = find_binaries()
    assert binaries is not None
    with (
        django_db_blocker.unblock(),
        Cluster(binaries) as cluster,
        Production(cluster, tmp_path_factory.mktemp("production")) as production,
        looking_at(cluster.url("shop")),
    ):
        yield production


@pytest.fixture
def customer(production) -> Callable[[Order], Caller]:
    key = issue_key(APIKeyScope.STOREFRONT)

    def customer(order: Order) -> Caller:
        token, _is_new = Token.objects.get_or_create(user=order.customer)
        return Caller(token=token.key, key=key)

    return customer


def take_payment(
    production: Production, customer: Any, *, secret: str = NEW, order: Any = None
) -> str:
    """Take an order to paid, by its webhook and by call 3; return the client secret."""
    order = order or OrderFactory.create()
    created = production.call(Call.order(order, "payment-intent", customer(order)))
    assert created.status == 200, created
    production.stripe.pay(created.data["id"], deliver=False)

    events = [each for each in production.stripe.events if each["type"].endswith(".succeeded")]
    signed = sign_event(json.dumps(events[-1]).encode(), secret=secret)
    headers = {"Stripe-Signature": signed.signature}
    webhook = Call(path=f"{BASE}/webhooks/stripe", headers=headers, body=signed.body.decode())
    assert production.call(webhook).status == 200

    payments = Caller(key=issue_key(APIKeyScope.PAYMENTS))
    settled = production.call(Call.order(order, "payment", payments))
    assert (settled.status, settled.data["status"]) == (200, "succeeded")
    return str(created.data["client_secret"])


@pytest.mark.parametrize("secret", [OLD, NEW])
def test_an_order_is_paid_with_its_webhook_signed_with_either_secret(production, customer, secret):
    take_payment(production, customer, secret=secret)


def test_requests_share_the_connections_of_the_pool(production, customer):
    """More requests than threads, at once: each is answered, and no connection is opened for it."""
    orders = OrderFactory.create_batch(4 * THREADS)
    calls = [Call.order(order, "payment-intent", customer(order)) for order in orders]
    with ThreadPoolExecutor(len(calls)) as clients:
        answers = [*clients.map(production.call, calls)]
    assert [each.status for each in answers] == [200] * len(calls)
    assert len({each.data["id"] for each in answers}) == len(calls)

    before = production.backends()
    assert 1 <= len(before) <= THREADS
    assert production.call(calls[0]).status == 200
    assert production.backends() == before


def test_static_files_have_a_hash_are_compressed_and_may_be_kept(production):
    page = production.call(Call(method="GET", path="/admin/login/"))
    assert page.status == 200
    assert "secure" in page.headers["set-cookie"].lower()
    (path,) = {*re.findall(r'href="(/static/admin/css/base\.[0-9a-f]{12}\.css)"', page.body)}
    with closing(HTTPConnection(production.url.removeprefix("http://"))) as http:
        http.request("GET", path, headers={**FROM_THE_PROXY, "Accept-Encoding": "gzip"})
        response = http.getresponse()
        body = response.read()
    assert response.status == 200
    assert response.headers["Strict-Transport-Security"].startswith("max-age=31536000;")
    assert response.headers["Cache-Control"] == "max-age=315360000, public, immutable"
    assert b"body" in gzip.decompress(body)

    order = OrderFactory.create()
    with override_settings(SECRET_KEY=ENVIRONMENT["DJANGO_SECRET_KEY"]):
        link = checkout_url(order)
    shown = production.call(Call(method="GET", path=link))
    assert shown.status == 200, shown
    assert re.search(r"/static/shop_payments/checkout\.[0-9a-f]{12}\.js", shown.body)


def test_customers_are_led_to_https(production):
    answer = send(production.url, Call(method="GET", path=f"{BASE}/orders"))
    assert answer is not None
    assert answer.status == 301
    assert answer.headers["location"].startswith("https://127.0.0.1")


def test_the_sweep_and_the_database_come_and_go(production, customer):
    assert production.health("/healthz") == (200, {"status": "ok"})
    late = {"status": "ok", "database": "ok", "migrations": "ok", "sweep": "late"}
    assert production.health("/readyz") == (200, late)
    assert production.health("/readyz/sweep") == (503, {**late, "status": "failing"})
    production.manage("shop_payments_reconcile", "-v0")
    assert production.health("/readyz/sweep") == (200, {**late, "sweep": "ok"})
    head = send(production.url, Call(method="HEAD", path="/readyz"))
    assert head is not None
    assert (head.status, head.body) == (200, "")

    order = OrderFactory.create()
    call = Call.order(order, "payment-intent", customer(order))
    production.cluster.stop("fast")
    try:
        assert production.health("/healthz") == (200, {"status": "ok"})
        status, answer = production.health("/readyz")
        assert (status, answer["status"], answer["database"]) == (503, "failing", "unavailable")
        refused = production.call(call)
        assert (refused.status, refused.code) == (503, "database_unavailable")
        time.sleep(8)  # long enough that the pool has given up
    finally:
        production.cluster.start()
    started = time.monotonic()
    production.wait_for("/readyz", 200)
    assert time.monotonic() - started < 10
    connection.close()  # this process has lost its connection, too
    assert production.call(call).status == 200

    entries = production.entries()
    outage = next(each for each in entries if each["message"] == "The database is unavailable")
    assert (outage["level"], outage["logger"]) == ("ERROR", "shop_payments")
    assert "OperationalError" in outage["exception"]
    assert any(each["message"].startswith("not ready: ") for each in entries)
    assert [each for each in entries if each["logger"] == "gunicorn.http.wsgi"] == []  # about HEAD


@pytest.fixture
def nginx(production, tmp_path) -> Iterator[tuple[int, int]]:
    """The nginx of docs/operations.md in front, on its ports for HTTPS and HTTP."""
    (text,) = (
        each.text
        for each in SNIPPETS
        if each.language == "nginx" and each.page == "docs/operations.md"
    )
    https, http = free_port(), free_port()
    key, certificate = tmp_path / "privkey.pem", tmp_path / "fullchain.pem"
    request = f"openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=127.0.0.1 -keyout {key}"
    production.run([*request.split(), "-out", str(certificate)])
    for old, new in {
        "listen 443": f"listen 127.0.0.1:{https}",
        "listen 80": f"listen 127.0.0.1:{http}",
        "server_name shop.example": "server_name 127.0.0.1",
        "/etc/ssl/shop": str(tmp_path),
        "/var/log/nginx": str(tmp_path),
        "/run/shop/gunicorn.sock": str(production.socket),
    }.items():
        assert old in text
        text = text.replace(old, new)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{kind}_temp_path {tmp_path}/{kind};" for kind in kinds)
    main = f"daemon off; pid {tmp_path}/pid; error_log {tmp_path}/error.log;"
    if os.getuid() == 0:
        main += "user root;"
    file = tmp_path / "nginx.conf"
    file.write_text(f"{main} events {{}} http {{ access_log off; {temporary}\n{text}\n}}")
    with subprocess.Popen(["nginx", "-e", "stderr", "-c", str(file)]) as process:
        try:
            deadline = time.monotonic() + PATIENCE
            while send(f"http://127.0.0.1:{http}", Call(path="/", method="GET")) is None:
                assert process.poll() is None, (tmp_path / "error.log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.05)
            yield https, http
        finally:
            process.terminate()


@pytest.mark.skipif(
    not (shutil.which("nginx") and shutil.which("openssl")), reason="no nginx or openssl here"
)
def test_nginx_speaks_https_hides_the_health_checks_and_logs_no_token(
    production, customer, nginx, tmp_path
):
    https, http = nginx
    order = OrderFactory.create()

    def ask(path: str, method: str = "GET", source: str = "127.0.0.1", **headers: str) -> Any:
        context = ssl.create_default_context(cafile=str(tmp_path / "fullchain.pem"))
        context.check_hostname = False
        connection = HTTPSConnection(
            "127.0.0.1", https, context=context, source_address=(source, 0)
        )
        with closing(connection):
            connection.request(method, path, headers=headers)
            response = connection.getresponse()
            return response.status, response.read().decode()

    path = f"{BASE}/orders/{order.pk}/payment-intent"
    # What a client says of the protocol does not count.
    headers = {**customer(order).headers, "X-Forwarded-Proto": "http"}
    status, body = ask(path, "POST", **headers)
    assert (status, json.loads(body)["data"]["currency"]) == (200, "usd")

    moved = send(f"http://127.0.0.1:{http}", Call(method="GET", path="/admin/"))
    assert moved is not None
    assert (moved.status, moved.headers["location"]) == (301, "https://127.0.0.1/admin/")

    with override_settings(SECRET_KEY=ENVIRONMENT["DJANGO_SECRET_KEY"]):
        link = checkout_url(order)
    assert ask(link)[0] == 200
    deadline = time.monotonic() + PATIENCE  # nginx writes the line after the answer
    while f"/checkout/{order.pk}/" not in (log := (tmp_path / "shop.log").read_text()):
        assert time.monotonic() < deadline, log
        time.sleep(0.05)
    assert "token" not in log

    assert ask("/readyz")[0] == 200
    assert [ask(path, source="127.0.0.2")[0] for path in ("/readyz", "/readyz/sweep")] == [403, 403]


def test_a_backup_is_restored_and_lost_payments_are_found(production, customer):
    """The commands are those of docs/operations.md."""
    order = OrderFactory.create()
    caller = customer(order)

    def commands(word: str) -> list[str]:
        """Return the commands of the block with this word, but those of systemd."""
        (block,) = (each.text for each in SNIPPETS if f"\n{word}" in f"\n{each.text}")
        return [line for line in block.splitlines() if not line.startswith("systemctl")]

    def run(line: str, *, status: int = 0) -> str:
        yesterday = timezone.now() - timedelta(days=1)
        line = line.replace("2026-11-01", f"{yesterday:%Y-%m-%d}")
        line = line.replace("shop.dump", f"{production.folder}/shop.dump")
        line = line.replace("python manage.py", f"{sys.executable} manage.py")
        path = f"{find_binaries()}:{os.environ['PATH']}"
        said: str = production.run(["sh", "-c", line], status=status, PATH=path)
        return said

    (dump,) = commands("pg_dump")
    run(dump)
    lost = take_payment(production, customer, order=order).partition("_secret_")[0]
    assert OrderPayment.objects.get(order=order).is_paid

    restore, migrate, sweep = commands("pg_restore")
    run(restore)
    assert not OrderPayment.objects.filter(order=order).exists()
    run(migrate)
    assert "1 payment intent at Stripe not known here" in run(sweep, status=1)

    item = ReviewItem.objects.get(order_payment__order=order)
    assert (item.reason, item.subject) == ("unknown_intent", lost)
    asked = production.call(Call.order(order, "payment-intent", caller))
    assert (asked.status, asked.code) == (409, "payment_in_review")


def test_the_deployment_is_checked(production):
    checked = production.manage(
        *"check --deploy --database default --fail-level WARNING".split(),
        CACHE_URL="redis://127.0.0.1:1/0",  # not asked
        STRIPE_API_BASE="",
    )
    assert "no issues" in checked


def test_every_line_of_the_log_is_an_object_without_a_secret(production, customer):
    client_secret = take_payment(production, customer)
    entries = production.entries()
    assert "Using worker: gthread" in [each["message"] for each in entries]
    paid = [each for each in entries if each.get("fact") == "order_paid"]
    assert all(each["status"] == "paid" and each["intent"].startswith("pi_") for each in paid)
    assert paid[-1]["intent"] == client_secret.partition("_secret_")[0]
    text = production.log.read_text()
    assert [secret for secret in (*SECRETS, client_secret) if secret in text] == []
