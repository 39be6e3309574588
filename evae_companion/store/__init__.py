"""The artifact store: everything expensive, kept under a hash of what it depends on."""
