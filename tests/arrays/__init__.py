"""The kinds of arrays that calls take, and how other libraries hand them over."""
