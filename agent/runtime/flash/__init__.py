"""What a board keeps: the store of records, and the stocks of masks and of shares in it."""
