"""Is this document fit to be sent: XSD, our header rules, the schematrons of the ANS."""
