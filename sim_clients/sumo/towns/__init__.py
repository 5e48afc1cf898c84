"""The towns that ship with the package, and the scripts that build them."""
