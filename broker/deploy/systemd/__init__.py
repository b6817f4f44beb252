"""Units of systemd for a deployment's broker and coordinator: text, hardened, and nothing
written."""
