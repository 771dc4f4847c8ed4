"""Backups of a node: taken, verified, restored.

    taking        mail store, DMP store, bodies, configuration and what it names -> a directory with a manifest
    manifest      what a backup is: its files with size and SHA-256
    restoring     the whole of it, into an empty data directory
    messages      single mailboxes and messages, into a store that runs

A backup never holds the master key: without that key nobody can read the mail in it. A directory without `.partial` at
the end of its name is complete: everything in it is on the disk before it gets that name.
"""
