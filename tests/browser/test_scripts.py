"""The parts of the page's script that need no page, under the Node.js that Playwright brings along."""

import subprocess
from pathlib import Path

from playwright._impl._driver import compute_driver_executable

HERE = Path(__file__).resolve().parent


def test_the_scripts_own_tests_pass():
    node, _cli = compute_driver_executable()
    command = [node, "--test", *sorted(HERE.glob("*.test.mjs"))]
    run = subprocess.run(command, capture_output=True, text=True, check=False)

    assert run.returncode == 0, run.stdout + run.stderr
