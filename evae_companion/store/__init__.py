"""Artifact store: expensive results on disk, each under a hash of the spec it depends on."""
