"""HTTP: the page that tells people how to set up their client, autoconfig, health, metrics."""
