"""The registry: one declaration of each thing that fastopt has, which code generators, engine, backends and tests read.

The build reads it before anything is compiled, so these modules import no other part of fastopt.
"""
