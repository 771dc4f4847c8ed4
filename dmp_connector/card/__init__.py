"""Cards at the workstation: the professional's (CPS, CPE) over PKCS#11, the patient's Vitale over PC/SC.

cps         what is on a professional card, as values
pkcs11      CardReader over a PKCS#11 module, in a process of its own (`pkcs11_worker`)
vitale      VitaleReader: our simulated card over PC/SC, or the licensed API as an external program
readers     PC/SC readers: which there are, which holds what, and when a card leaves
tls_relay   stunnel with the pkcs11 engine: mutual TLS with the card's key
simulated   a Vitale for tests and demonstrations, put into a virtual reader
"""
