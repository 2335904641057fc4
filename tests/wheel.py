"""The built wheel in an empty Django site, and in one that was there before: `python -m tests.wheel`.

Builds it, installs it with its own requirements into a new virtual environment, makes a site by `startproject`, adds the
app and its addresses, and asks Django: checks, migrations, the package's files. Then the site of tests.existing chats with
it. Ends with a sentence where one fails.
"""

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from .existing import SERVERS, ExistingSite

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ["--constraint", str(ROOT / "constraints.txt")]
SITE_SETTINGS = """
INSTALLED_APPS += ["streaming_chat"]
LOGIN_URL = "admin:login"
DATABASES["default"]["OPTIONS"] = {"transaction_mode": "IMMEDIATE"}
"""
SITE_URLS = """
from django.urls import include
urlpatterns += [path("chat/", include("streaming_chat.urls"))]
"""
DATA_FILES = ["streaming_chat/py.typed", "streaming_chat/openapi.json", "streaming_chat/migrations/0001_initial.py"]
# Belongs to the example site.
ABSENT = "seedtranscripts"
EVERY_SUFFIX_OF_DATA = {".html", ".css", ".js", ".svg", ".mo"}


def main() -> None:
    """Run each step; raise where one fails."""
    with tempfile.TemporaryDirectory(prefix="streaming_chat_wheel_") as name:
        folder = Path(name)
        wheel = _build(folder / "dist")
        _check_content(wheel)
        python = _install(wheel, folder / "venv")
        _check_site(python, folder)
        _check_existing_site(python, folder)
    sys.stdout.write(f"{wheel.name} is complete, runs in an empty site and chats in an existing one.\n")


def _build(folder: Path) -> Path:
    _run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT)
    return next(folder.glob("*.whl"))


def _check_content(wheel: Path) -> None:
    """Every file of the package is in the wheel, and nothing but the package."""
    inside = set(zipfile.ZipFile(wheel).namelist())
    source = ROOT / "streaming_chat"
    files = [path for path in source.rglob("*") if path.suffix in EVERY_SUFFIX_OF_DATA | {".py"}]
    missing = {str(path.relative_to(ROOT)) for path in files}.union(DATA_FILES) - inside
    strangers = {name for name in inside if not name.startswith(("streaming_chat/", "streaming_chat-"))}
    strangers |= {name for name in inside if ABSENT in name}
    if missing or strangers:
        raise SystemExit(f"The wheel lacks {sorted(missing)} and has {sorted(strangers)} too much.")


def _install(wheel: Path, folder: Path) -> Path:
    _run(sys.executable, "-m", "venv", folder)
    python = folder / "bin" / "python"
    _run(python, "-m", "pip", "install", "-qq", "--disable-pip-version-check", *CONSTRAINTS, wheel)
    return python


def _check_site(python: Path, folder: Path) -> None:
    """The README's lines are enough: checks pass, tables are made, nothing is left to migrate."""
    _run(python, "-m", "django", "startproject", "site1", cwd=folder)
    site = folder / "site1"
    with (site / "site1" / "settings.py").open("a") as settings:
        settings.write(SITE_SETTINGS)
    with (site / "site1" / "urls.py").open("a") as urls:
        urls.write(SITE_URLS)
    for command in (
        ["check", "--fail-level", "WARNING"],
        ["migrate", "-v0"],
        ["makemigrations", "--check", "--dry-run"],
    ):
        _run(python, "manage.py", *command, cwd=site)


def _check_existing_site(python: Path, folder: Path) -> None:
    """The README's lines are enough for a site with habits of its own, under each server."""
    _run(python, "-m", "pip", "install", "-qq", "--disable-pip-version-check", *CONSTRAINTS, "uvicorn")
    site = ExistingSite(folder, python)
    for server in SERVERS:
        site.check_chat(server)


def _run(*command: str | Path, cwd: Path = ROOT) -> None:
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    main()
