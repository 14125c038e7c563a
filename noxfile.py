"""Sessions for contributors: ``nox -s check``, ``nox -s test``, ``nox -s release``.

They call the same scripts as ``bash .ci/run``, which runs more and needs no nox.
"""

import nox

nox.options.default_venv_backend = "venv"
nox.options.sessions = ["check", "test"]
nox.options.error_on_missing_interpreters = False


@nox.session(python="3.11")
def check(session: nox.Session) -> None:
    """Lint, types, words, spelling, import contracts and migrations."""
    session.install("-r", "requirements.txt")
    session.run("bash", ".ci/check", external=True)


@nox.session(python=["3.11", "3.12", "3.13", "3.14"])
def test(session: nox.Session) -> None:
    """The tests on SQLite, with the newest Django that the interpreter runs."""
    session.install("--upgrade", "--upgrade-strategy", "eager", ".[docs,postgres,demo,tests]")
    session.run("python", "-m", "pytest", *(session.posargs or ["-n", "2", "--dist", "loadfile"]))


@nox.session(python="3.11")
def release(session: nox.Session) -> None:
    """Build and check what ``twine upload dist/*`` would publish."""
    session.install("build", "twine")
    session.run("rm", "-rf", "dist", external=True)
    session.run("bash", ".ci/package", "dist", "--release", external=True)
