"""What is signed: XML signatures, the submission set (XAdES) and the assertion of each call (VIHF)."""
