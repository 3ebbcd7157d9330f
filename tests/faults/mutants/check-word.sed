# what: the check of a watermark is not tested
# file: format/head.c
# row: flips (keys|random)
s/word == 0 \|\| word >> 48 != word_check\(v\)/word == 0/
