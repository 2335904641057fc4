"""Block the users and visitors whose replies of today have cost more than a limit. Staff unblock them in the admin.

Put it beside manage.py, and run it every few minutes:

    python manage.py shell --command "from block_spenders import block_spenders; print(block_spenders(5))"

Days are in UTC. It looks at the 50 owners with the highest cost, and blocks nobody whose cost is not known.
"""

from decimal import Decimal

from streaming_chat.accounts.blocks import is_blocked
from streaming_chat.privacy.blocking import block
from streaming_chat.usage.owners import top_owners


def block_spenders(dollars):
    """Return the owner keys of those who are blocked now and were not before."""
    spent = [(key, usage.cost) for key, usage in top_owners(1) if usage.cost is not None]
    over = [(key, cost) for key, cost in spent if cost > Decimal(dollars) and not is_blocked(key)]
    for key, cost in over:
        block(key, f"Spent ${cost:.2f} in one day.", "block_spenders")
    return [key for key, _cost in over]
