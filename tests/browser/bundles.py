"""The browser part's source as one module, built from frontend/ as it is now."""

import subprocess
from pathlib import Path

from playwright._impl._driver import compute_driver_executable

ROOT = Path(__file__).resolve().parent.parent.parent
FRONTEND = ROOT / "frontend"
_BUILD = """
import { build } from "esbuild";
import { alias } from "./aliases.mjs";
// What is imported from outside frontend/ has no node_modules above it.
const nodePaths = [`${process.cwd()}/node_modules`, `${process.cwd()}/../tests/clients/node_modules`];
const define = { "process.env.NODE_ENV": '"production"' };
const syntax = { format: "esm", jsx: "automatic", target: "es2022" };
const options = { ...syntax, alias, define, nodePaths, bundle: true, minify: true, write: false };
const { outputFiles } = await build({ ...options, logLevel: "error", entryPoints: process.argv.slice(-1) });
process.stdout.write(outputFiles[0].contents);
"""


def node() -> str:
    """Return the Node.js that Playwright brings along."""
    path, _cli = compute_driver_executable()
    return str(path)


def bundle(source: Path) -> bytes:
    """Return a module with everything that it imports."""
    assert (FRONTEND / "node_modules").exists(), "frontend/node_modules is missing: run `npm ci` in frontend/ first."

    command = [node(), "--input-type=module", "-e", _BUILD, str(source)]
    run = subprocess.run(command, cwd=FRONTEND, capture_output=True, check=False)
    assert run.returncode == 0, run.stderr.decode()
    return run.stdout
