"""dmp_connector: the French national patient record (DMP) from Python. Knows nothing of mail."""
