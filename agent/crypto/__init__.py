"""The board's cryptography in plain Python: P-256, AES-CCM, HKDF, HMAC and hashing into
Z*_{N^2}."""
