"""Octets of CMS: DER and BER, object identifiers, algorithms, armour, and long content without copies."""
