"""Open a labelled data set, whatever its storage, as rows that all tasks read in one way."""
