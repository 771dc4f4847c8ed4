"""How octets travel to the DMP and back: XML without DTD, SOAP 1.2, MTOM, the HTTPS exchange and its trace."""
