"""Many runs as one experiment: which are done, and training the others."""
