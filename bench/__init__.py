"""How accurate and how fast the library is, beside its peers: `python -m bench --help`."""
