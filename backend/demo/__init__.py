"""The demo: the real Label Studio and ClickPick on this machine, with photographs to try them on."""
