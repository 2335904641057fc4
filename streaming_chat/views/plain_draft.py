"""What the form of the page without JavaScript said, which is shown again after an error."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import HttpRequest

from streaming_chat.protocol.storable_text import storable


@dataclass(frozen=True, repr=False)
class Draft:
    """The fields of the form. Its repr is the default one: no text in logs and error pages.

    again: the reply that a button continues or asks for again, in place of a text. continues: which of the two.
    """

    content: str = ""
    model: str = ""
    parent: str = ""
    client_id: str = ""
    again: str = ""
    continues: bool = False

    @classmethod
    def from_post(cls, request: HttpRequest) -> Draft:
        """Return what was posted. A form ends its lines with CRLF."""
        posted = {name: storable(request.POST.get(name, "")) for name in ("content", "model", "parent", "client_id")}
        posted["content"] = posted["content"].replace("\r\n", "\n")
        continued = request.POST.get("continue", "")
        again = storable(continued or request.POST.get("regenerate", ""))
        return cls(**posted, again=again, continues=bool(continued))

    @property
    def filled(self) -> dict[str, str]:
        """The fields that are not empty, and the text in any case but for a button."""
        if self.again:
            return {"again": self.again} | ({"client_id": self.client_id} if self.client_id else {})
        others = {name: getattr(self, name) for name in ("model", "parent", "client_id")}
        return {"content": self.content} | {name: value for name, value in others.items() if value}
