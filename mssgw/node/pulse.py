"""What a worker writes to its parent through its heartbeat pipe. Standard library only."""

READY, ALIVE = b"R", b"."
