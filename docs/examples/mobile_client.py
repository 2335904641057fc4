"""A mobile client with an access token: sends a message and prints the reply, also over a network that comes and goes.

    export TOKEN=sc_…            # from the page /chat/tokens, or manage.py createtoken
    python mobile_client.py http://127.0.0.1:8000/chat/ "Will it rain?"

It needs nothing but Python. An app does the same with its platform's HTTP client: keep the token in the system's key store,
never in the code.
"""

import http.client
import json
import os
import sys
import time
import urllib.error
import urllib.request
import uuid

RETRIES = 10


def request(url, token, body=None, last_id=""):
    """Open a stream of events: of a new message if there is a body, else of a reply from an event on."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "Last-Event-ID": last_id}
    data = None if body is None else json.dumps(body).encode()
    return urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=60)  # noqa: S310


def events(stream):
    """Yield the id, the name and the data of each event."""
    last_id, name = "", ""
    for line in stream:
        field, _, value = line.decode().rstrip("\n").partition(": ")
        if field == "id":
            last_id = value
        elif field == "event":
            name = value
        elif field == "data" and value != "[DONE]":
            yield last_id, name, json.loads(value)
        elif not field:
            name = ""


def ask(root, token, text):
    """Yield the pieces of the reply. Its client_id makes a repeated request safe: the message is sent once."""
    message = {"content": text, "client_id": uuid.uuid4().hex}
    last_id = ""
    for attempt in range(RETRIES):
        try:
            address = f"api/messages/{last_id.partition('/')[0]}/events" if last_id else "api/messages"
            with request(root + address, token, None if last_id else message, last_id) as stream:
                for last_id, name, data in events(stream):  # noqa: B007
                    yield data["text"]
                    if name in ("done", "stopped", "interrupted", "failed"):
                        return
        except urllib.error.HTTPError as error:
            # The server has answered: 401 for a token that is not valid, 429 with the seconds to wait.
            sys.exit(json.load(error)["error"]["message"])
        except (OSError, http.client.HTTPException):
            time.sleep(min(2**attempt / 10, 10))
    sys.exit("The connection was lost.")


if __name__ == "__main__":
    for piece in ask(sys.argv[1], os.environ["TOKEN"], sys.argv[2]):
        print(piece, end="", flush=True)
    print()
