"""What the commands do: flags are made from the configurations by cyclopts; call, print."""
