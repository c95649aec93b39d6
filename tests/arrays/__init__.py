"""The kinds of arrays that calls accept, and the interfaces of other libraries."""
