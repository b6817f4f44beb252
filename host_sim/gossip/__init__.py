"""Anonymous queries simulated with a thousand nodes, and the paper's figures."""
