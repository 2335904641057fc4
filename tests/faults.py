"""Prints, fault by fault, what was sent, what was saved of it and what each reader saw: `python -m tests.faults`.

Runs the tests of outages, those behind pgbouncer where that is on PATH, and prints what they noted; figures are code
points of text.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path


def main() -> int:
    """Return pytest's exit status."""
    with tempfile.NamedTemporaryFile(suffix=".jsonl") as notes:
        modules = ["tests/test_database_faults.py"]
        if shutil.which("pgbouncer"):
            modules.append("tests/test_behind_pgbouncer.py")
        command = [sys.executable, "-m", "pytest", "-q", "-m", "nginx or not nginx", *modules, *sys.argv[1:]]
        environment = {**os.environ, "STREAMING_CHAT_TEST_FAULTS": notes.name}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        lines = [json.loads(line) for line in Path(notes.name).read_text().splitlines()]
    sys.stdout.write("| fault | sent | saved | seen by each reader |\n|---|---|---|---|\n")
    for line in lines:
        sys.stdout.write(f"| {line['fault']} | {line['sent']} | {line['saved']} | {'; '.join(line['seen']) or '-'} |\n")
    sys.stdout.write(done.stdout if done.returncode else done.stdout.splitlines()[-1] + "\n")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
