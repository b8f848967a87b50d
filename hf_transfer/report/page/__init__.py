"""A run as one page for a browser, and what the page is made of."""
