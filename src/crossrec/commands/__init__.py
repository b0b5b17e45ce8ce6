"""The commands, a module each: make flags from configurations, call the library, print the result."""
