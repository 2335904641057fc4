"""A backup of all your chats in one zip archive, which holds each as Markdown and as JSON.

    export TOKEN=sc_…            # one that may only read is enough: from /chat/tokens, or manage.py createtoken --scope read
    python download_chats.py http://127.0.0.1:8000/chat/ chats.zip

It needs nothing but Python, and may run daily: an existing file is replaced only by an archive that is complete.
"""

import contextlib
import http.client
import json
import os
import shutil
import sys
import urllib.error
import urllib.request
import zipfile
from pathlib import Path


def download(url, token, target):
    """Save the archive. It has no size beforehand, since the server makes it while it is sent."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=60) as response, target.open("wb") as file:  # noqa: S310
        shutil.copyfileobj(response, file)


def titles(path):
    """Return the titles of the chats in an archive. Raises BadZipFile if it is not complete."""
    with zipfile.ZipFile(path) as archive:
        if damaged := archive.testzip():
            raise zipfile.BadZipFile(f"{damaged} is damaged.")
        names = [name for name in archive.namelist() if name.endswith(".json")]
        return [json.loads(archive.read(name))["conversation"]["title"] for name in names]


def main(root, path):
    """Replace the file at this path, or end with a sentence that says why not."""
    # Beside it, so that it can be renamed, and for you alone.
    part = Path(f"{path}.part")
    part.touch(mode=0o600)
    try:
        download(f"{root}api/export", os.environ["TOKEN"], part)
        found = titles(part)
        part.replace(path)
    except urllib.error.HTTPError as error:
        # 401 for a token that is not valid, 429 with the seconds to wait in Retry-After.
        sys.exit(json.load(error)["error"]["message"])
    except (OSError, http.client.HTTPException, zipfile.BadZipFile):
        # The connection was lost, or the server has cut it: the token was revoked meanwhile.
        sys.exit("The archive is not complete.")
    finally:
        with contextlib.suppress(FileNotFoundError):
            part.unlink()
    print(f"{len(found)} chats:", *found, sep="\n- ")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
