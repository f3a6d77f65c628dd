"""The command lines of the 2020 scripts, translated into today's options. The root scripts call these."""
