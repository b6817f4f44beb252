"""Anonymous queries between boards: onions, what is public about a query, and one virtual board's
part in it."""
