"""Octets of CMS: BER as a stream, object identifiers, algorithms, armour, and long content without copies."""
