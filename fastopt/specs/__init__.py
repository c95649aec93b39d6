"""The registry: one declaration per update, norm or kernel, which code generators, engine, backends and tests read.

The build reads all but `updates` before anything is compiled: those modules import no other part of the package.
"""
