"""A server of tickets that speaks the Model Context Protocol, as a team beside the shop would run it.

python ticket_server.py 8765
"""

import sys

import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations

server = MCPServer("tickets", log_level="WARNING")
tickets = ["The parcel of the order 7 is lost."]


def check(context: Context) -> None:
    """Raise an error for requests that are not the shop's."""
    if context.headers.get("authorization") != "Bearer secret":
        raise ToolError("The token is not valid.")


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def search_tickets(word: str, context: Context) -> list[str]:
    """Search the tickets of the shop for a word."""
    check(context)
    return [ticket for ticket in tickets if word.lower() in ticket.lower()]


@server.tool()
def open_ticket(text: str, context: Context) -> str:
    """Open a ticket, which an employee will answer."""
    check(context)
    tickets.append(text)
    return f"The ticket {len(tickets)} is open."


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8765
    uvicorn.run(server.streamable_http_app(), port=port, log_level="warning")
