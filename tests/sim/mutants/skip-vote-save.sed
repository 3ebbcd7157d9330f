# what: term and vote are not made durable
# file: replicate/steps.c
# store: memory
s/struct rep_action \*a = rep_act\(d, REP_ACT_SAVE\);/static struct rep_action none, *a = \&none;/
