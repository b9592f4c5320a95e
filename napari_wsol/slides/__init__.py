"""Slides of any size: planned, read ahead, encoded tile by tile, and never held whole.

A plan says which tiles there are; a queue, which is next; a reader fetches windows on
threads; the run encodes them and reads the maps of all methods from the same features;
a log keeps every finished tile, so that a crash or Cancel loses none.
"""
