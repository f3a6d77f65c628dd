"""Answers to every question of the data: into one file, or into a folder of shards by several actors."""
