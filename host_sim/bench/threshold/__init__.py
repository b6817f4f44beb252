"""One round with failed clients: Hum's arithmetic and the paper's."""
