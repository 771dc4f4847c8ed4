"""`mssgw demo`: the whole trust space on one machine, and the harness for everything that checks us from outside.

cast          its persons: operators, accounts, certificates, the ten peers of the national audit
stage         the processes: authority, operators, DMP simulator; started, watched, stopped
description   demo.json, the public interface of the demo
once          the main job from end to end, then the refusals, each step with its evidence
pki, authority   an IGC-Santé of our own
"""
