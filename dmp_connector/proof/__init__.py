"""What a key vouches for: XML signatures, the signed submission set (XAdES) and the assertion of each call (VIHF)."""
