# what: what contradicts the leader is not cut
# file: replicate/steps.c
# store: disk
s/rep_act\(d, REP_ACT_CUT\)->index = first;//
