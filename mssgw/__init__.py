"""mssgw: secure mail server and gateway for MSSanté."""

__version__ = "0.1.0"
