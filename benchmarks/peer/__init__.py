"""The other libraries, one module each: what they are asked, and beside it what ours is asked.

A module runs on two sides. In a process of the peer, `methods` says how the library is called; it imports it, so that
nothing of it is loaded elsewhere. In the driver, `pairs` says the same of ours, and what is compared.
"""
