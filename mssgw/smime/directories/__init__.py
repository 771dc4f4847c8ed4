"""Where the certificates of recipients are found: files and LDAP directories."""
