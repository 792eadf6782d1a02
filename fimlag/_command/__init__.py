"""What the shell commands do: the main job on real data, and a trace of the user's own log-likelihood."""
