# what: the check of a link of the live index is not tested
# file: format/live_index.c
# row: flips random
s/if \(word != 0 && .*/if (word != 0 \&\& link_check(t, place) == 1)/
