"""What people read and sign: PDF/A sheets, letters, and the check of PDFs that others made."""
