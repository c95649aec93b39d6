"""The registry: one declaration of each thing that fastopt has, which code generators, engine, backends and tests read.

The build reads all but `updates` before anything is compiled: those modules import no other part of the package.
"""
