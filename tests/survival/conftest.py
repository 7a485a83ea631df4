"""Proofs that cross rooms: what is killed, repeated, contended or fed with rubbish still keeps the four promises."""
