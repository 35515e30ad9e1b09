"""The commands. Heavy packages are imported when a command runs, so that help is quick."""

from . import listing, show, verify

COMMANDS = (verify, listing, show)
