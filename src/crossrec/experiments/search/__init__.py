"""Search for settings on validation: spaces, proposals, trials, summary."""
