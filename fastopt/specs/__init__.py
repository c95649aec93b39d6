"""The registry: one declaration of each thing that fastopt has, which code generators, engine, backends and tests read.

The build reads `fastopt.specs.dtypes` before anything is compiled, so that module imports no other part of fastopt.
"""
