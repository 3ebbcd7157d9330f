# what: a node that lost its disk comes back under its old id
# file: tests/sim/sim.c
# store: memory
s/    n->id \+= SIM_IDS;//
