"""The CMS engine (RFC 5652, 5083, 8551 2): signs, verifies, encrypts, decrypts octets. It knows no mail and no directory."""
