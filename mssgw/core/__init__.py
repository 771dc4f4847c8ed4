"""Values only: no asyncio, no sockets, no SQL. Frozen, parsed once at the border."""
