"""Parts of a page: anatomy, forms, controls."""
