"""What staff do with conversations: read, search, judge, count, export, redact. No HTTP: admin/ and the commands ask it."""
