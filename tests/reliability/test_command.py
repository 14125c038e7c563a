"""``python -m tests.reliability``: what is asked for is run, and what failed can be had again."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys

import pytest

from tests.reliability import (
    test_faults,
    test_kills,
    test_many_processes,
    test_order_of_arrival,
    test_refunds_at_once,
    test_servers,
    test_switches,
)
from tests.reliability.__main__ import main, plan
from tests.reliability.crew import ROOT
from tests.reliability.processes import clean_environ

pytestmark = pytest.mark.reliability

SEEDED = [
    test_faults,
    test_kills,
    test_many_processes,
    test_order_of_arrival,
    test_refunds_at_once,
    test_servers,
    test_switches,
]


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.reliability", *arguments],
        cwd=ROOT,
        env=clean_environ(**environ),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize("module", SEEDED, ids=lambda each: each.__name__.split(".")[-1])
def test_what_a_failure_prints_runs_the_same_suite_and_seed(module):
    files, environ = plan(shlex.split(module.AGAIN)[3:])

    assert files == [module.__file__]
    assert environ["RELIABILITY_SEED"] == str(module.SEED)


def test_a_failure_prints_the_line_that_has_it_again_whatever_fails():
    failed = run("--suite", "servers", "--seed", "57", POSTGRES_BIN="/nowhere")

    assert failed.returncode == 1
    assert "No such file or directory" in failed.stdout
    assert "python -m tests.reliability --suite servers --seed 57 --runs 6" in failed.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--runs 0", "a number from 1 on, not 0"),
        ("--runs many", "a number from 1 on, not many"),
        ("--suite switches --runs 3", "--suite switches has one size"),
        ("--point 7", "--point is for --suite kill"),
        ("--suite kill --order 1@2", "--order is for --suite arrival"),
    ],
)
def test_what_would_run_something_else_is_refused(arguments, words, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(arguments.split())

    assert words in capsys.readouterr().err


@pytest.mark.parametrize(("suite", "option"), [("kill", "--operation"), ("arrival", "--history")])
def test_a_name_that_is_not_there_is_no_success(suite, option):
    refused = run("--suite", suite, option, "refudn")

    assert refused.returncode == pytest.ExitCode.USAGE_ERROR
    assert f"no {option[2:]} 'refudn', but " in refused.stderr


def test_a_postgresql_that_is_not_there_is_said_in_a_line(monkeypatch):
    monkeypatch.setitem(os.environ, "DATABASE_URL", "postgres://postgres@127.0.0.1:1/shop")

    with pytest.raises(SystemExit, match="names a PostgreSQL that is not there"):
        main(["--suite", "faults"])
