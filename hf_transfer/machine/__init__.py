"""The computer: whole files, locks, caches, processes, signals, memory, and words for a person."""
