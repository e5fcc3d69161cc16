"""Commands of the command line that have sub-commands of their own."""
